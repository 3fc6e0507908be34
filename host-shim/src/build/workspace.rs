//! Which package and which binary is meant by what the user wrote.

use super::cargo::tool;
use super::{BuildError, Options};
use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};
use std::path::{Path, PathBuf};

/// A package's binary that becomes an image.
#[derive(Clone, Debug)]
pub(super) struct App {
    /// Name of the package.
    pub(super) name: String,
    /// The package, unmistakably.
    pub(super) package: PackageId,
    /// Name of the binary.
    pub(super) binary: String,
    /// The workspace that it belongs to.
    pub(super) workspace_root: PathBuf,
    /// Where cargo would build it, were it an ordinary program.
    pub(super) target_directory: PathBuf,
}

/// Finds every app.
pub(super) fn locate<A: AsRef<Path>>(apps: &[A], options: &Options) -> Result<Vec<App>, BuildError> {
    // Most calls name several packages of one workspace: ask cargo once.
    let mut around: Option<(PathBuf, Metadata)> = None;
    let mut found = Vec::new();
    for app in apps {
        let app = app.as_ref();
        if is_name(app) {
            let name = app.to_string_lossy();
            if around.is_none() {
                let directory = match &options.manifest_dir {
                    Some(directory) => directory.clone(),
                    None => std::env::current_dir().map_err(BuildError::CurrentDirectory)?,
                };
                let manifest = manifest_around(&directory)
                    .ok_or_else(|| BuildError::NoWorkspace { name: name.to_string(), directory })?;
                around = Some((manifest.clone(), read(&manifest)?));
            }
            if let Some((_, metadata)) = &around {
                found.push(named(&name, metadata)?);
            }
        } else {
            found.push(lying_at(app)?);
        }
    }
    Ok(found)
}

/// Whether this is the name of a package rather than the path of its directory.
pub(super) fn is_name(app: &Path) -> bool {
    let mut components = app.components();
    let single = matches!(components.next(), Some(std::path::Component::Normal(_)));
    single && components.next().is_none() && !app.as_os_str().as_encoded_bytes().contains(&b'/')
}

/// The nearest manifest in a directory or above it.
pub(super) fn manifest_around(directory: &Path) -> Option<PathBuf> {
    let directory = std::path::absolute(directory).ok()?;
    directory.ancestors().map(|ancestor| ancestor.join("Cargo.toml")).find(|manifest| manifest.is_file())
}

/// The package of this name in a workspace.
fn named(name: &str, metadata: &Metadata) -> Result<App, BuildError> {
    let mut packages = metadata.workspace_packages().into_iter();
    match packages.find(|package| package.name.as_str() == name) {
        Some(package) => choose(package, metadata),
        None => Err(BuildError::NoSuchPackage {
            name: name.into(),
            workspace: metadata.workspace_root.clone().into(),
            packages: with_binaries(metadata),
        }),
    }
}

/// The package whose manifest is in this directory.
fn lying_at(directory: &Path) -> Result<App, BuildError> {
    let absolute = std::path::absolute(directory).map_err(BuildError::CurrentDirectory)?;
    let manifest = absolute.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(BuildError::NoManifest(directory.to_owned()));
    }
    let metadata = read(&manifest)?;
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let meant = canonical(&manifest);
    match metadata.packages.iter().find(|package| canonical(package.manifest_path.as_std_path()) == meant) {
        Some(package) => choose(package, &metadata),
        None => Err(BuildError::OnlyWorkspace {
            directory: directory.to_owned(),
            packages: with_binaries(&metadata),
        }),
    }
}

/// The package's binary that is its app: the one it names, else the one named like it, else the only one.
fn choose(package: &Package, metadata: &Metadata) -> Result<App, BuildError> {
    let binaries = binaries(package);
    let meant = [package.default_run.as_deref(), Some(package.name.as_str())]
        .into_iter()
        .flatten()
        .find(|name| binaries.iter().any(|binary| binary == name));
    let binary = match (meant, binaries.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(BuildError::NoBinary(package.name.to_string())),
        (None, _) => {
            return Err(BuildError::ManyBinaries { package: package.name.to_string(), binaries });
        }
    };
    Ok(App {
        name: package.name.to_string(),
        package: package.id.clone(),
        binary,
        workspace_root: metadata.workspace_root.clone().into(),
        target_directory: metadata.target_directory.clone().into(),
    })
}

fn binaries(package: &Package) -> Vec<String> {
    package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.clone()).collect()
}

/// Names of a workspace's packages that could be apps: with a binary, and not built for the host.
fn with_binaries(metadata: &Metadata) -> Vec<String> {
    let uses_libvcpu = |package: &&Package| package.dependencies.iter().any(|used| used.name == "libvcpu");
    let packages = metadata.workspace_packages();
    let apps = packages.into_iter().filter(|package| !binaries(package).is_empty()).filter(uses_libvcpu);
    let mut names: Vec<_> = apps.map(|package| package.name.to_string()).collect();
    names.sort();
    names
}

/// Asks cargo about the workspace of a manifest.
pub(super) fn read(manifest: &Path) -> Result<Metadata, BuildError> {
    let directory = manifest.parent().unwrap_or(manifest);
    // A relative target directory is meant relative to where we are, not to where cargo will run.
    let target = std::env::var_os("CARGO_TARGET_DIR").and_then(|target| std::path::absolute(target).ok());
    let answer = tool("CARGO", "cargo")
        .variable("CARGO_TARGET_DIR", target.as_deref())
        .arguments(&["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arguments(&[manifest])
        .directory(directory)
        .output()?;
    MetadataCommand::parse(answer)
        .map_err(|error| BuildError::Answer { program: "cargo metadata".into(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_and_everything_else_a_directory() {
        for name in ["hello", "hello-c", "..."] {
            assert!(is_name(Path::new(name)), "{name}");
        }
        for directory in [".", "..", "./hello", "hello/", "/", "apps/hello", ""] {
            assert!(!is_name(Path::new(directory)), "{directory}");
        }
    }

    fn package(directory: &Path, manifest: &str, sources: &[&str]) -> PathBuf {
        std::fs::create_dir_all(directory.join("src/bin")).unwrap();
        std::fs::write(directory.join("Cargo.toml"), manifest).unwrap();
        for source in sources {
            std::fs::write(directory.join(source), "fn main() {}").unwrap();
        }
        directory.to_owned()
    }

    const MANIFEST: &str = "[package]\nname = 'tool'\nedition = '2024'\n[workspace]\n";

    #[test]
    fn the_only_binary_is_the_app() {
        let place = tempfile::tempdir().unwrap();
        let app = lying_at(&package(place.path(), MANIFEST, &["src/bin/other.rs"])).unwrap();
        assert_eq!((app.name.as_str(), app.binary.as_str()), ("tool", "other"));
    }

    #[test]
    fn of_several_binaries_the_one_named_like_the_package_is_the_app() {
        let place = tempfile::tempdir().unwrap();
        let app = lying_at(&package(place.path(), MANIFEST, &["src/bin/other.rs", "src/main.rs"])).unwrap();
        assert_eq!(app.binary, "tool");
    }

    #[test]
    fn default_run_names_the_app() {
        let place = tempfile::tempdir().unwrap();
        let manifest = MANIFEST.replace("[workspace]", "default-run = 'other'\n[workspace]");
        let app = lying_at(&package(place.path(), &manifest, &["src/bin/other.rs", "src/main.rs"])).unwrap();
        assert_eq!(app.binary, "other");
    }

    #[test]
    fn several_binaries_without_a_choice_are_listed() {
        let place = tempfile::tempdir().unwrap();
        let error =
            lying_at(&package(place.path(), MANIFEST, &["src/bin/a.rs", "src/bin/b.rs"])).unwrap_err();
        assert!(error.is_no_app());
        assert!(error.to_string().contains("`a`, `b`"), "{error}");
    }

    #[test]
    fn a_library_is_no_app() {
        let place = tempfile::tempdir().unwrap();
        let error = lying_at(&package(place.path(), MANIFEST, &["src/lib.rs"])).unwrap_err();
        assert!(matches!(&error, BuildError::NoBinary(name) if name == "tool"), "{error}");
    }

    #[test]
    fn a_workspace_manifest_is_no_app() {
        let place = tempfile::tempdir().unwrap();
        let error = lying_at(&package(place.path(), "[workspace]", &[])).unwrap_err();
        assert!(matches!(error, BuildError::OnlyWorkspace { .. }), "{error}");
    }

    #[test]
    fn a_name_is_looked_up_in_the_workspace_around() {
        let options = Options { manifest_dir: Some(env!("CARGO_MANIFEST_DIR").into()), ..Options::default() };
        let found = locate(&["hello", "../apps/hello"], &options).unwrap();
        assert_eq!(found[0].package, found[1].package);
        let error = locate(&["absent"], &options).unwrap_err().to_string();
        assert!(error.contains("`absent`") && error.contains("`hello`"), "{error}");
        let error = locate(&["libvcpu"], &options).unwrap_err();
        assert!(matches!(error, BuildError::NoBinary(_)), "{error}");
    }
}
