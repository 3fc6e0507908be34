//! Checks the licences of all dependencies against the list in deny.toml, and the exceptions there.

use crate::Result;
use cargo_metadata::MetadataCommand;
use std::path::Path;

/// Fails with the names of the packages whose licence is not allowed.
pub(crate) fn check(root: &Path) -> Result {
    let text =
        std::fs::read_to_string(root.join("deny.toml")).map_err(|error| format!("deny.toml: {error}"))?;
    let table: toml::Table = text.parse().map_err(|error| format!("deny.toml: {error}"))?;
    let licences = table.get("licenses").ok_or("deny.toml has no table licenses")?;
    let list = |table: &toml::Value| -> Option<Vec<String>> {
        table.get("allow")?.as_array()?.iter().map(|licence| Some(licence.as_str()?.to_owned())).collect()
    };
    let allowed = list(licences).ok_or("deny.toml has no list licenses.allow")?;
    let exceptions = licences.get("exceptions").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    // What a package may have besides.
    let besides = |name: &str| -> Vec<String> {
        let exceptions = exceptions.iter();
        let own = exceptions.filter(|table| table.get("crate").and_then(toml::Value::as_str) == Some(name));
        own.filter_map(list).flatten().collect()
    };
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .exec()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let bad: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| {
            let allowed = [&allowed[..], &besides(&package.name)].concat();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            !package.license.as_deref().is_some_and(|licence| permits(licence, &allowed))
        })
        .map(|package| format!("{} ({})", package.name, package.license.as_deref().unwrap_or("no licence")))
        .collect();
    if bad.is_empty() {
        println!("{} packages, all under allowed licences", metadata.packages.len());
        return Ok(());
    }
    Err(format!("not under a licence that deny.toml allows: {}", bad.join(", ")))
}

/// Whether an SPDX expression can be met with allowed licences. `/` is the old spelling of `OR`.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.replace('/', " OR ");
    let term = |licence: &str| allowed.contains(&licence.trim_matches(['(', ')', ' ']));
    let all = |terms: &str| terms.split(" AND ").all(term);
    // `(A OR B) AND C` needs C and one of A and B; without parentheses AND binds tighter.
    if expression.contains('(') {
        return expression.split(" AND ").all(|part| part.split(" OR ").any(term));
    }
    expression.split(" OR ").any(all)
}

#[cfg(test)]
mod tests {
    use super::permits;

    const ALLOWED: [&str; 2] = ["MIT", "Apache-2.0"];

    #[test]
    fn one_of_several_licences_is_enough_and_all_of_a_conjunction_are_needed() {
        assert!(permits("MIT", &ALLOWED));
        assert!(permits("GPL-3.0 OR MIT", &ALLOWED));
        assert!(permits("Unlicense/MIT", &ALLOWED));
        assert!(!permits("GPL-3.0", &ALLOWED));
        assert!(!permits("MIT AND GPL-3.0", &ALLOWED));
        assert!(permits("(MIT OR GPL-3.0) AND Apache-2.0", &ALLOWED));
        assert!(!permits("(MIT OR Apache-2.0) AND Unicode-3.0", &ALLOWED));
    }
}
