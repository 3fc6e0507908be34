# Downloads the source archive of a package, and does nothing with it: NAME VERSION FILE.
import shutil
import sys

try:
    from pip._internal.commands import create_command
except ImportError:
    sys.exit("this Python has no pip; install it (Debian: python3-pip)")

name, version, file = sys.argv[1:]
command = create_command("download")
options, _ = command.parse_args(["--no-binary", ":all:", "--quiet", name])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options, session)
    links = [found.link for found in finder.find_all_candidates(name) if str(found.version) == version]
    if not links:
        sys.exit(f"the package index has no source of {name} {version}, or cannot be reached")
    response = session.get(links[0].url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True)
    response.raise_for_status()
    with open(file, "wb") as archive:
        shutil.copyfileobj(response.raw, archive)
