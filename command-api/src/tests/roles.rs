//! Roles are granted and revoked in the truth, beside the log.

use std::collections::BTreeSet;

use domain::{Rejection, UserId};

use super::world::World;
use crate::auth::roles::{Role, Roles};
use crate::write_path::WriteError;

#[tokio::test]
async fn roles_are_granted_and_revoked_and_leave_no_event() {
    let world = World::together().await;
    let [ada, ben] = [world.person("ada").await.id, world.person("ben").await.id];
    let roles = Roles::new(world.write_path.clone());
    let log = world.log().await;
    assert_eq!(roles.of(ada).await.unwrap(), BTreeSet::new());
    assert_eq!(roles.all().await.unwrap(), []);

    assert!(roles.grant(ada, Role::Admin).await.unwrap());
    assert!(!roles.grant(ada, Role::Admin).await.unwrap(), "she has it");
    assert!(roles.grant(ada, Role::Analyst).await.unwrap());
    assert!(roles.grant(ben, Role::Moderator).await.unwrap());
    assert_eq!(roles.of(ada).await.unwrap(), BTreeSet::from([Role::Admin, Role::Analyst]));
    // What else is private goes on, and so do the roles.
    world.log_in("ada", super::world::PASSWORD).await.expect(201);
    let all = roles.all().await.unwrap();
    let all: Vec<_> = all.iter().map(|holder| (holder.user, holder.username.as_str(), holder.roles.len())).collect();
    assert_eq!(all, [(ada, "ada", 2), (ben, "ben", 1)]);

    assert!(roles.revoke(ada, Role::Admin).await.unwrap());
    assert!(!roles.revoke(ada, Role::Admin).await.unwrap(), "she has it no longer");
    assert_eq!(roles.of(ada).await.unwrap(), BTreeSet::from([Role::Analyst]));
    assert_eq!(world.log().await, log, "roles are not in the log");
}

#[tokio::test]
async fn people_are_found_by_name_and_by_id_and_nobody_comes_into_being() {
    let world = World::together().await;
    let ada = world.person("ada").await.id;
    let roles = Roles::new(world.write_path.clone());
    assert_eq!(roles.find("ADA").await.unwrap(), ada);
    assert_eq!(roles.find(&ada.to_string()).await.unwrap(), ada);
    let is_nobody = |error| matches!(error, WriteError::Rejected(Rejection::NotFound("user")));
    let nobody = UserId::MIN;
    for name in ["ben", "", "no name", &nobody.to_string()] {
        assert!(is_nobody(roles.find(name).await.unwrap_err()), "{name}");
    }
    assert!(is_nobody(roles.grant(nobody, Role::Admin).await.unwrap_err()));
    assert_eq!(roles.of(nobody).await.unwrap(), BTreeSet::new());
    assert!(world.content.load(domain::StreamId::User(nobody)).await.unwrap().is_none());
}
