//! What the people of a seeded community are called and what they write about: word lists and sentences with gaps.

use std::fmt::Write as _;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const ADJECTIVES: [&str; 40] = [
    "amber", "brisk", "calm", "clever", "copper", "cosy", "crisp", "dapper", "dusty", "eager", "early", "fabled",
    "gentle", "golden", "happy", "hidden", "humble", "icy", "jolly", "keen", "late", "lively", "lucky", "mellow",
    "misty", "nimble", "odd", "patient", "plucky", "quiet", "rapid", "rusty", "salty", "silver", "sleepy", "sunny",
    "tidy", "vivid", "wild", "witty",
];
const ANIMALS: [&str; 40] = [
    "badger", "beaver", "bison", "crane", "cricket", "curlew", "dolphin", "dormouse", "egret", "falcon", "ferret",
    "finch", "fox", "gecko", "hare", "hedgehog", "heron", "ibex", "jackdaw", "kestrel", "lark", "lemur", "lynx",
    "magpie", "marten", "newt", "otter", "owl", "panda", "puffin", "quail", "raven", "robin", "seal", "sparrow",
    "stoat", "swift", "toad", "vole", "wren",
];
const GIVEN: [&str; 32] = [
    "Aino", "Bram", "Chiara", "Dewi", "Elif", "Farid", "Greta", "Hugo", "Imani", "Jonas", "Keiko", "Leila", "Mateo",
    "Nadia", "Oskar", "Petra", "Quinn", "Rosa", "Sanjay", "Tove", "Ugo", "Vera", "Wanda", "Xenia", "Yusuf", "Zora",
    "Milo", "Ines", "Tomas", "Noor", "Ravi", "Selma",
];
const FAMILY: [&str; 24] = [
    "Abara",
    "Berg",
    "Castell",
    "Dahl",
    "Engel",
    "Fontaine",
    "Grigor",
    "Haas",
    "Ito",
    "Jansen",
    "Kovac",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Pereira",
    "Quist",
    "Rossi",
    "Sato",
    "Tanaka",
    "Ueda",
    "Varga",
    "Winter",
    "Zielinski",
];

/// A subject and what belongs to it.
struct Subject {
    tag: &'static str,
    things: [&'static str; 6],
    doing: [&'static str; 4],
    places: [&'static str; 4],
}

const SUBJECTS: [Subject; 8] = [
    Subject {
        tag: "gardening",
        things: ["tomatoes", "the compost heap", "a bag of bulbs", "the old pear tree", "runner beans", "slugs"],
        doing: ["pruning", "watering", "sowing", "digging"],
        places: ["behind the shed", "on the balcony", "in the greenhouse", "at the allotment"],
    },
    Subject {
        tag: "cycling",
        things: ["a new chain", "the rear wheel", "my panniers", "the headwind", "two flat tyres", "a borrowed pump"],
        doing: ["climbing", "patching", "commuting", "coasting"],
        places: ["along the canal", "over the pass", "in the rain", "on the coast road"],
    },
    Subject {
        tag: "baking",
        things: ["the sourdough", "a dozen eggs", "cardamom buns", "the oven", "too much flour", "an apple cake"],
        doing: ["kneading", "proving", "tasting", "burning"],
        places: ["in a tiny kitchen", "before breakfast", "for the whole street", "at my aunt's"],
    },
    Subject {
        tag: "astronomy",
        things: ["Saturn's rings", "the telescope", "a thin moon", "the clouds", "one satellite", "a star chart"],
        doing: ["observing", "waiting", "focusing", "counting"],
        places: ["on the roof", "far from the city", "at three in the morning", "by the reservoir"],
    },
    Subject {
        tag: "programming",
        things: ["the borrow checker", "a flaky test", "that index", "the build", "an off-by-one", "the changelog"],
        doing: ["refactoring", "profiling", "reviewing", "deleting"],
        places: ["on the train", "in a branch nobody reads", "after lunch", "right before the release"],
    },
    Subject {
        tag: "hiking",
        things: ["wet boots", "the map", "a flask of tea", "the last bus", "the ridge", "two curious goats"],
        doing: ["scrambling", "resting", "wandering", "turning back"],
        places: ["above the tree line", "through the gorge", "in thick fog", "on the way to the hut"],
    },
    Subject {
        tag: "books",
        things: [
            "a second-hand atlas",
            "the final chapter",
            "three novels",
            "the library card",
            "an odd footnote",
            "the index",
        ],
        doing: ["rereading", "lending", "sorting", "underlining"],
        places: ["by the window", "at the flea market", "in one sitting", "between two stops"],
    },
    Subject {
        tag: "music",
        things: ["the viola", "a broken string", "the metronome", "an old waltz", "the whole choir", "one wrong note"],
        doing: ["practising", "tuning", "humming", "listening"],
        places: ["in the stairwell", "at the town hall", "with the door closed", "until the neighbours knocked"],
    },
];

const TITLES: [&str; 6] = [
    "On {doing}",
    "Notes on {thing}",
    "What {thing} taught me",
    "{place}, again",
    "A small thing about {tag}",
    "{doing} {place}",
];
const SENTENCES: [&str; 12] = [
    "Spent the morning {doing} {place}, mostly because of {thing}.",
    "Nobody tells you about {thing} until it is too late.",
    "I keep coming back to {doing}, and *{thing}* is why.",
    "If you ever find yourself {doing} {place}, bring patience.",
    "Today it was {thing} that won.",
    "There is a kind of quiet {place} that I had forgotten.",
    "Turns out {thing} needs less attention than I gave it.",
    "Second attempt at {doing}; the first one does not count.",
    "Somebody left {thing} {place}, and I have questions.",
    "**Small victory:** {thing}, finally.",
    "My plan was {doing}. The plan did not survive {thing}.",
    "Ask me about {thing} some time.",
];
const CLOSINGS: [&str; 6] = [
    "How do you deal with {thing}?",
    "More tomorrow.",
    "Pictures when the light is better.",
    "Worth every minute.",
    "I would do it again.",
    "That is all. #{tag}",
];
const COMMENTS: [&str; 14] = [
    "This made my day.",
    "I had the same with {thing} last year.",
    "Have you tried {doing} instead?",
    "Where exactly is that? {place}?",
    "Lovely, thank you for writing it down.",
    "Not sure I agree about {thing}.",
    "Same here!",
    "Saving this for later.",
    "What happened next?",
    "{doing} is underrated.",
    "You are braver than I am.",
    "My neighbour swears by {doing} {place}.",
    "Ha, {thing}. Of course.",
    "Good luck with {thing}!",
];

/// A user name; each `attempt` gives another one, ever less likely to be taken.
pub(super) fn username(rng: &mut ChaCha8Rng, attempt: u32) -> String {
    let number = rng.random_range(0..100_u32 * 10_u32.saturating_pow(attempt.min(4)));
    format!("{}_{}_{number}", pick(rng, &ADJECTIVES), pick(rng, &ANIMALS))
}

/// What somebody wants to be called.
pub(super) fn display_name(rng: &mut ChaCha8Rng) -> String {
    let given = pick(rng, &GIVEN);
    if rng.random_bool(0.7) { format!("{given} {}", pick(rng, &FAMILY)) } else { given.to_owned() }
}

/// A post: sometimes a title, and Markdown of one to four paragraphs.
pub(super) fn post(rng: &mut ChaCha8Rng) -> (Option<String>, String) {
    let subject = subject(rng);
    let title = rng.random_bool(0.4).then(|| capitalised(&sentence(rng, subject, &TITLES)));
    let mut markdown = String::new();
    for paragraph in 0..rng.random_range(1..=4) {
        if paragraph > 0 {
            markdown.push_str("\n\n");
        }
        if paragraph > 0 && rng.random_bool(0.15) {
            let first = rng.random_range(0..3);
            for item in &subject.things[first..first + 3] {
                // Writing to a string does not fail.
                let _ = writeln!(markdown, "- {item}");
            }
            markdown.truncate(markdown.trim_end().len());
            continue;
        }
        let sentences: Vec<String> =
            (0..rng.random_range(1..=4)).map(|_| capitalised(&sentence(rng, subject, &SENTENCES))).collect();
        markdown.push_str(&sentences.join(" "));
    }
    if rng.random_bool(0.5) {
        let _ = write!(markdown, "\n\n{}", capitalised(&sentence(rng, subject, &CLOSINGS)));
    }
    (title, markdown)
}

/// A comment: a sentence or two.
pub(super) fn comment(rng: &mut ChaCha8Rng) -> String {
    let subject = subject(rng);
    let first = capitalised(&sentence(rng, subject, &COMMENTS));
    if rng.random_bool(0.2) { format!("{first} {}", capitalised(&sentence(rng, subject, &COMMENTS))) } else { first }
}

fn subject(rng: &mut ChaCha8Rng) -> &'static Subject {
    &SUBJECTS[rng.random_range(0..SUBJECTS.len())]
}

fn pick(rng: &mut ChaCha8Rng, words: &[&'static str]) -> &'static str {
    words[rng.random_range(0..words.len())]
}

/// One of the patterns, its gaps filled.
fn sentence(rng: &mut ChaCha8Rng, subject: &Subject, patterns: &[&'static str]) -> String {
    let pattern = pick(rng, patterns);
    pattern
        .replace("{thing}", pick(rng, &subject.things))
        .replace("{doing}", pick(rng, &subject.doing))
        .replace("{place}", pick(rng, &subject.places))
        .replace("{tag}", subject.tag)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
