//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use command_api::auth::roles::Role;
use domain::{StreamId, Timestamp};

use crate::config::{Flags, LogFlags, LogFormat, ProjectionFlags, ServerRole};
use crate::operations::events::Start;

/// The backend of a live social feed.
///
/// Without a command it serves everything. Settings come from hybrid-live.toml, then from environment variables
/// (HYBRID_LIVE_LISTEN, HYBRID_LIVE_LOG__FILTER …), then from flags; the later wins.
#[derive(Debug, Parser)]
#[command(name = "hybrid-live", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  it ran and failed; verify: it found differences; dead-letters: the lane is still parked
  2  it could not run: command line, configuration, data directory, port, input file";

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Global {
    /// Configuration file [default: hybrid-live.toml in the working directory, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "HYBRID_LIVE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where the data is kept [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where HTTP is served; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// How a line of the log looks [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged to standard error, such as `warn` or `info,projectors=debug` [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

impl Cli {
    /// Those of the flags that are settings.
    pub(crate) fn settings(&self) -> Flags {
        let Global { listen, data_dir, log_format, log_filter, .. } = &self.global;
        let (roles, only) = match &self.command {
            Some(Command::Serve(args)) => (args.roles.clone(), args.projections.iter().map(|one| one.name()).collect()),
            _ => (Vec::new(), Vec::new()),
        };
        Flags {
            listen: *listen,
            roles,
            data_dir: data_dir.clone(),
            projections: ProjectionFlags { only },
            log: LogFlags { format: *log_format, filter: log_filter.clone() },
        }
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve everything: commands, queries, streams, projections; or some of it, beside other processes
    Serve(ServeArgs),
    /// Bring the schemas of all stores up to date, and make what is not there: before servers of a new version start
    Migrate,
    /// Make a plausible community: the same seed makes the same data, and a second run adds nothing
    Seed(SeedArgs),
    /// Import the public posts of a Mastodon account export, with their original times; a second run adds nothing
    Import(ImportArgs),
    /// Compare every store with what the log says it must hold
    Verify(VerifyArgs),
    /// Show the log's events, one JSON object per line, in the order of time; also beside a running server
    Events(EventsArgs),
    /// Show, pause and resume projections
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Show, retry and drop events that could not be applied and hold their lanes up
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Show, grant and revoke what people may do beyond what everybody may
    #[command(subcommand)]
    Roles(RolesCommand),
    /// Print the OpenAPI document of the API that this version serves
    Openapi,
    /// Print what makes a shell complete this command line
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// What `serve` takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Only this role; may be repeated, or several with commas between them [default: all]
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    pub(crate) roles: Vec<ServerRole>,
    /// With the role `projectors`: only these [default: all]
    #[arg(long, value_name = "PROJECTION", value_delimiter = ',')]
    pub(crate) projections: Vec<Projection>,
}

/// What `events` takes.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only events of this type, such as `post.published`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of this stream, such as `post-0191…`; may be repeated
    #[arg(long = "stream", value_name = "STREAM")]
    pub(crate) streams: Vec<StreamId>,
    /// Only events of this topic; may be repeated
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<Topic>,
    /// Begin at a position, in its partition alone, or at a time
    #[arg(long, value_name = "POSITION|TIME")]
    pub(crate) from: Option<Start>,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// At the end, wait for more
    #[arg(long)]
    pub(crate) follow: bool,
    /// Open what people wrote; otherwise it is shown sealed, as the log holds it
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// A topic, as the command line knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topic {
    /// Posts, comments and likes
    Posts,
    /// Who follows, blocks or mutes whom
    Relations,
    /// Accounts
    Users,
}

impl From<Topic> for domain::Topic {
    fn from(topic: Topic) -> Self {
        match topic {
            Topic::Posts => Self::Posts,
            Topic::Relations => Self::Relations,
            Topic::Users => Self::Users,
        }
    }
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// Write JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be done with projections.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectionsCommand {
    /// All of them: state, lag, parked lanes
    List(Form),
    /// One of them, partition by partition
    Show {
        /// Which
        name: Projection,
        #[command(flatten)]
        form: Form,
    },
    /// Let it rest after the batches that it is at, in every process, until it is resumed
    Pause {
        /// Which
        name: Projection,
    },
    /// Let it go on
    Resume {
        /// Which
        name: Projection,
    },
}

/// What can be done with parked lanes.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// All parked lanes
    List(Form),
    /// One of them, with the first of the events that wait
    Show {
        #[command(flatten)]
        lane: LaneArgs,
        #[command(flatten)]
        form: Form,
    },
    /// Try again to apply what waits
    Retry {
        #[command(flatten)]
        lane: LaneArgs,
        #[command(flatten)]
        form: Form,
    },
    /// Leave the event that cannot be applied out for good, and apply the rest
    Drop {
        #[command(flatten)]
        lane: LaneArgs,
        /// Leave out everything that waits
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        form: Form,
    },
}

/// A parked lane.
#[derive(Debug, Args)]
pub(crate) struct LaneArgs {
    /// Which projection has parked it
    pub(crate) projection: Projection,
    /// The lane, as `list` shows it
    pub(crate) lane: String,
}

/// What can be done with roles.
#[derive(Debug, Subcommand)]
pub(crate) enum RolesCommand {
    /// Everybody with a role
    List(Form),
    /// Give a role to somebody
    Grant {
        /// User name or id
        user: String,
        /// Which role
        role: RoleName,
    },
    /// Take a role from somebody; it works at once
    Revoke {
        /// User name or id
        user: String,
        /// Which role
        role: RoleName,
    },
}

/// A role, as the command line knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Operate the projections and read the log
    Admin,
    /// Moderate what people write
    Moderator,
    /// Read statistics
    Analyst,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Moderator => Self::Moderator,
            RoleName::Analyst => Self::Analyst,
        }
    }
}

/// What `seed` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SeedArgs {
    /// How many people
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) users: u32,
    /// How many posts
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub(crate) posts: u32,
    /// Which community
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// When the community's newest events happened; they reach back 90 days from there
    #[arg(long, value_name = "TIME", default_value = "2026-01-01T00:00:00Z")]
    pub(crate) until: Timestamp,
    /// Everybody's password
    #[arg(long, value_name = "PASSWORD", default_value = "correct horse battery staple")]
    pub(crate) password: String,
}

/// What `import` takes.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The export's `outbox.json`
    pub(crate) file: PathBuf,
    /// User name of the account that gets the posts; it must exist
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: String,
}

/// What `verify` takes.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Only the stores of this projection [default: all, and the truth itself]
    pub(crate) projection: Option<Projection>,
    /// Run the projections here meanwhile, as one more process with the role projectors; where the stores are files and
    /// no server has them, that is so in any case
    #[arg(long)]
    pub(crate) run_projections: bool,
}

/// A projection, as the command line knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Projection {
    /// Homes, authors' posts, relations
    Timelines,
    /// Counts, comments, likes, versions
    Engagement,
    /// What people show of themselves, their numbers, lists of follows
    Profiles,
}

impl Projection {
    /// What it is called everywhere.
    pub(crate) fn name(self) -> String {
        // No variant is hidden from the command line.
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("hybrid-live").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_everything_is_served() {
        assert!(parsed("").expect("valid").command.is_none());
    }

    #[test]
    fn settings_stand_before_or_after_the_command() {
        for line in
            ["--data-dir x --log-format json verify engagement", "verify --log-format json --data-dir x engagement"]
        {
            let cli = parsed(line).expect("valid");
            let flags = cli.settings();
            assert_eq!(flags.data_dir.as_deref(), Some("x"));
            assert_eq!(flags.log.format, Some(LogFormat::Json));
            assert_eq!(flags.listen, None);
            let Some(Command::Verify(args)) = cli.command else { panic!("verify") };
            assert_eq!(args.projection, Some(Projection::Engagement));
        }
    }

    #[test]
    fn a_server_may_have_some_of_the_roles() {
        let cli = parsed("serve --role relay,query-api --role projectors --projections timelines").expect("valid");
        let flags = cli.settings();
        assert_eq!(flags.roles, [ServerRole::Relay, ServerRole::QueryApi, ServerRole::Projectors]);
        assert_eq!(flags.projections.only, ["timelines"]);
        assert!(parsed("serve").expect("valid").settings().roles.is_empty());
    }

    #[test]
    fn seeds_default_to_one_fixed_community() {
        let Some(Command::Seed(args)) = parsed("seed --users 3 --posts 4").expect("valid").command else {
            panic!("seed")
        };
        assert_eq!((args.users, args.posts, args.seed), (3, 4, 1));
        assert_eq!(args.until.to_string(), "2026-01-01T00:00:00.000Z");
    }

    #[test]
    fn projections_are_called_here_as_everywhere() {
        assert_eq!(Projection::Timelines.name(), projectors::Timelines::NAME);
        assert_eq!(Projection::Engagement.name(), projectors::Engagement::NAME);
        assert_eq!(Projection::Profiles.name(), projectors::Profiles::NAME);
    }

    #[test]
    fn the_log_is_shown_from_a_position_or_a_time_on() {
        let from = |text: &str| match parsed(&format!("events --from {text}")).expect("valid").command {
            Some(Command::Events(args)) => args.from.expect("given"),
            other => panic!("{other:?}"),
        };
        assert!(matches!(from("2026-01-01T00:00:00Z"), Start::Time(_)));
        let Start::Positions(positions) = from("00f3a91c5be2d407-p3-128") else { panic!("a position") };
        assert_eq!((positions[0].partition, positions[0].offset), (3, 128));
    }

    #[test]
    fn what_is_missing_or_impossible_is_named() {
        for (line, named) in [
            ("seed --users 3", "--posts"),
            ("seed --users 0 --posts 1", "--users"),
            ("seed --users 1 --posts 1 --until yesterday", "--until"),
            ("events --stream user-xyz", "--stream"),
            ("import outbox.json", "--as"),
            ("verify homes", "timelines"),
            ("--listen localhost", "--listen"),
            ("rebuild", "rebuild"),
            ("events --from yesterday", "RFC 3339"),
            ("events --topic mail", "relations"),
            ("projections", "list"),
            ("projections pause homes", "engagement"),
            ("dead-letters drop timelines", "<LANE>"),
            ("roles grant ada king", "moderator"),
            ("completions cmd", "fish"),
            ("serve --role baker", "streamer"),
            ("serve --role projectors --projections homes", "profiles"),
            ("verify --run", "--run"),
        ] {
            let refusal = parsed(line).err().unwrap_or_else(|| panic!("{line} is refused")).to_string();
            assert!(refusal.contains(named), "{line}: {refusal}");
        }
    }
}
