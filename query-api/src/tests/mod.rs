//! What the query API must do, as stories, on real SQLite stores.

mod counted;
mod explain;
mod feed;
mod feed_streams;
mod health;
mod http_client;
mod live;
mod people;
mod queries;
mod resume;
mod speed;
mod streams;
mod watching;
mod world;
