//! The documents say what is: links lead somewhere, and each numbered invariant is tested where it is said to be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents that people read.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("schemas/events/README.md")];
    for folder in [root().to_owned(), root().join("docs")] {
        let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        documents.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    documents
}

#[test]
fn links_lead_to_files_that_are_there() {
    let mut links = 0;
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let place = document.parent().expect("a folder").join(file);
            assert!(place.exists(), "{} links to {target}, which is not there", document.display());
        }
    }
    assert!(links > 10, "the documents link to each other: {links}");
}

#[test]
fn every_invariant_is_tested_where_the_table_says() {
    let text = read(&root().join("docs/protocols.md"));
    let stated: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("** "))
        .map(|(number, _)| number)
        .filter(|number| number.len() == 2)
        .collect();
    let mut tested = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (Some(number), Some(files)) = (cells.next(), cells.next()) else { continue };
        if !stated.contains(number) {
            continue;
        }
        tested.insert(number);
        for file in files.split('`').skip(1).step_by(2) {
            let words = read(&root().join(file));
            let mut words = words.split(|character: char| !character.is_alphanumeric());
            assert!(words.any(|word| word == number), "{file} does not name {number}");
        }
        assert!(files.contains('`'), "{number} is tested somewhere");
    }
    assert!(stated.len() > 20, "{stated:?}");
    assert_eq!(tested, stated, "every invariant is in the table");
}
