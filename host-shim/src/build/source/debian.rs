//! Source packages of Debian, by `apt-get` with lists and settings of its own.
//!
//! Most machines have no `deb-src` line, and no ordinary user may add one. So the repositories are taken
//! from the machine's own settings, and apt is called with a state directory of ours, in which it reads
//! them as `deb-src`. It authenticates the lists and the files as it does for the machine. Only the
//! upstream archive is used, none of Debian's patches.

use super::{Fetched, Source, SourceError, checksum, written};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const REMEDY: &str = "use Debian or one of its kin, or install apt";

/// Downloads the source package below `work` and unpacks its upstream archive.
pub(super) fn fetch(source: &Source, work: &Path) -> Result<Fetched, SourceError> {
    let apt = Apt::new(work)?;
    let uris = source.run(apt.command().args(["--print-uris", "update"]), REMEDY)?;
    let repositories = repositories(&uris);
    if repositories.is_empty() {
        return Err(SourceError::NoRepositories(source.name.clone()));
    }
    apt.use_repositories(&repositories)?;
    // A foreign repository of the machine may be out of reach; what counts is whether the package comes.
    let updated = source.run(apt.command().args(["--quiet", "update"]), REMEDY);
    let found = download(source, &apt, &repositories);
    // Without lists the reason is in the first message.
    let archive = found.map_err(|error| updated.err().unwrap_or(error))?;
    let version = upstream_version(&archive).unwrap_or_default();
    if version == source.version {
        source.verify(&checksum(&archive)?)?;
    }
    Ok(Fetched { directory: source.unpack(&archive, work)?, version })
}

/// Has apt download the package: first from all repositories, then from each alone, since a version that
/// several of them have may be missing in the one that apt prefers.
fn download(source: &Source, apt: &Apt, repositories: &[String]) -> Result<PathBuf, SourceError> {
    let attempt = || {
        let mut command = apt.command();
        command.args(["--quiet", "--download-only", "--only-source", "source", &source.name]);
        source.run(&mut command, REMEDY)?;
        apt.upstream_archive().ok_or_else(|| SourceError::Failed {
            name: source.name.clone(),
            version: source.version.clone(),
            program: "apt-get".into(),
            message: "the source package has no upstream archive".into(),
        })
    };
    let mut result = attempt();
    for repository in repositories {
        if result.is_ok() {
            break;
        }
        apt.use_repositories(std::slice::from_ref(repository))?;
        result = attempt().or(result);
    }
    result
}

/// A directory in which apt works.
struct Apt<'a> {
    work: &'a Path,
}

impl Apt<'_> {
    fn new(work: &Path) -> Result<Apt<'_>, SourceError> {
        for directory in ["state/lists/partial", "cache/archives/partial", "download"] {
            let directory = work.join(directory);
            fs::create_dir_all(&directory).map_err(written(&directory))?;
        }
        Ok(Apt { work })
    }

    /// `apt-get` with our state. The repositories are the machine's until ours are written.
    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let mut set = |name: &str, value: &Path| {
            let mut setting = std::ffi::OsString::from(format!("{name}="));
            setting.push(value);
            command.arg("--option").arg(setting);
        };
        set("Dir::State", &self.work.join("state"));
        set("Dir::State::status", Path::new("/var/lib/dpkg/status"));
        set("Dir::Cache", &self.work.join("cache"));
        let list = self.work.join("sources.list");
        if list.exists() {
            set("Dir::Etc::SourceList", &list);
            set("Dir::Etc::SourceParts", Path::new("-"));
        }
        set("APT::Get::List-Cleanup", Path::new("0"));
        set("Acquire::Languages", Path::new("none"));
        // Its own user cannot write below a home directory.
        set("APT::Sandbox::User", Path::new("root"));
        command.current_dir(self.work.join("download"));
        command
    }

    fn use_repositories(&self, lines: &[String]) -> Result<(), SourceError> {
        let list = self.work.join("sources.list");
        fs::write(&list, lines.join("\n") + "\n").map_err(written(&list))
    }

    /// The downloaded `NAME_VERSION.orig.tar.*`.
    fn upstream_archive(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.work.join("download")).ok()?;
        entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| upstream_version(path).is_some())
    }
}

/// The version in the name of an upstream archive. A package may have further archives of single
/// components (`.orig-www.tar.*`), and signatures (`.asc`).
fn upstream_version(archive: &Path) -> Option<String> {
    let (name, extension) = archive.file_name()?.to_str()?.split_once(".orig.tar.")?;
    let (_, version) = name.split_once('_')?;
    (!extension.contains('.')).then(|| version.to_owned())
}

/// The repositories of the machine as `deb-src` lines, from the addresses of its lists of packages. Those
/// of security updates come last: they do not keep what the release itself has as well.
fn repositories(uris: &str) -> Vec<String> {
    let mut lines: Vec<_> = uris.lines().filter_map(repository).collect();
    lines.sort_by_key(|line| line.contains("security"));
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines
}

/// `'URI/dists/SUITE/COMPONENT/binary-ARCHITECTURE/Packages.xz' ...` as a `deb-src` line.
fn repository(line: &str) -> Option<String> {
    let (address, _) = line.strip_prefix('\'')?.split_once('\'')?;
    let (list, packages) = address.rsplit_once("/binary-")?;
    let (uri, place) = list.split_once("/dists/")?;
    let (suite, component) = place.rsplit_once('/')?;
    packages.contains("/Packages").then(|| format!("deb-src {uri} {suite} {component}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_lists_of_packages_become_source_repositories_with_security_last() {
        let uris = "'http://mirror/debian-security/dists/x-security/InRelease' a 0 \n\
            'http://mirror/debian-security/dists/x-security/main/binary-amd64/Packages.xz' b 0 \n\
            'http://mirror/debian/dists/x/main/binary-amd64/Packages.xz' c 0 \n\
            'http://mirror/debian/dists/x/main/binary-all/Packages.xz' d 0 \n\
            'http://mirror/debian/dists/x/main/dep11/Components-amd64.yml.xz' e 0 \n";
        assert_eq!(
            repositories(uris),
            ["deb-src http://mirror/debian x main", "deb-src http://mirror/debian-security x-security main"]
        );
        assert!(repositories("").is_empty());
    }

    #[test]
    fn the_upstream_archive_is_told_from_components_signatures_and_debians_own() {
        let version = |name: &str| upstream_version(Path::new(name));
        assert_eq!(version("zlib_1.2.13.dfsg.orig.tar.bz2").as_deref(), Some("1.2.13.dfsg"));
        for other in [
            "sqlite3_3.40.1.orig-www.tar.xz",
            "musl_1.2.3.orig.tar.gz.asc",
            "musl_1.2.3-1.debian.tar.xz",
            "musl_1.2.3-1.dsc",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
