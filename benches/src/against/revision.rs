//! Another revision's crates, and benches that compile against them.

use std::{
    collections::BTreeMap,
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::rounds::Outcome;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The file without which benches can't take turns.
const NEEDED: &str = "src/against/turns.rs";

pub struct Revision {
    commit: String,
    subject: String,
}

impl Revision {
    /// Takes all that git takes for a commit.
    pub fn resolve(name: &str) -> Outcome<Self> {
        let commit = format!("{name}^{{commit}}");
        let commit = git(&["rev-parse", "--verify", "--end-of-options", &commit])?;
        let subject = git(&["log", "-1", "--format=%s", &commit])?;
        Ok(Self { commit, subject })
    }

    /// The program, built from the newest benches that compile there: rows are best compared if both
    /// come from the same source.
    pub fn build(&self) -> Outcome<PathBuf> {
        let tree = extracted(&self.commit, &[])?;
        let since = format!("{}..HEAD", self.commit);
        let changes = git(&["log", "--format=%H", &since, "--", "benches"])?;
        let mut others: Vec<&str> = changes.lines().collect();
        others.push(&self.commit);

        let mut failed = match self.compile(&tree, Path::new(HERE))? {
            Ok(program) => return Ok(program),
            Err(log) => log,
        };
        for commit in others {
            let benches = extracted(commit, &["benches"])?.join("benches");
            if !benches.join(NEEDED).exists() {
                continue;
            }
            match self.compile(&tree, &benches)? {
                Ok(program) => return Ok(program),
                Err(log) => failed = log,
            }
        }
        Err(format!(
            "no benches of {since} compile against {self}:\n{failed}"
        ))
    }

    /// Builds those benches in that tree. What the compiler said, if it failed.
    fn compile(&self, tree: &Path, benches: &Path) -> Outcome<Result<PathBuf, String>> {
        replace(&tree.join("benches"), &files(benches)?)?;
        eprintln!("building {self}");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = Path::new(HERE).join("target");
        let output = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--manifest-path"])
            .arg(tree.join("benches/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let built = target.join("release").join(env!("CARGO_PKG_NAME"));
        let program = tree.join("program");
        fs::copy(&built, &program).map_err(|error| format!("{}: {error}", built.display()))?;
        Ok(Ok(program))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.10} ({})", self.commit, self.subject)
    }
}

/// A copy of this program that no build replaces.
pub fn copy_of(program: &Path) -> Outcome<PathBuf> {
    let folder = kept();
    let copy = folder.join("program");
    let done = fs::create_dir_all(&folder).and_then(|()| fs::copy(program, &copy));
    done.map_err(|error| format!("{}: {error}", copy.display()))?;
    Ok(copy)
}

/// Where all is kept for the next run.
fn kept() -> PathBuf {
    Path::new(HERE).join("target/against")
}

/// The folder with these paths of a commit, or all of them.
fn extracted(commit: &str, paths: &[&str]) -> Outcome<PathBuf> {
    let folder = kept().join([&[commit], paths].concat().join("-"));
    if folder.exists() {
        return Ok(folder);
    }
    // One that was left in the middle is not taken for the whole.
    let part = folder.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
    let archive = part.join("archive.tar");
    let archive = archive
        .to_str()
        .ok_or("the path of the benches is no UTF-8")?;
    git(&[&["archive", "-o", archive, commit, "--"], paths].concat())?;
    // Cargo goes by the times of files, and those of a commit may be older than the last build.
    let unpack = ["--touch", "-xf", archive, "-C"];
    output(Command::new("tar").args(unpack).arg(&part))?;
    let done = fs::remove_file(archive).and_then(|()| fs::rename(&part, &folder));
    done.map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// The manifest and the source of benches.
fn files(benches: &Path) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    fn walk(root: &Path, under: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
        for entry in fs::read_dir(root.join(under))? {
            let path = under.join(entry?.file_name());
            match root.join(&path).is_dir() {
                true => walk(root, &path, into)?,
                false => drop(into.insert(path.clone(), fs::read(root.join(path))?)),
            }
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    let manifest = PathBuf::from("Cargo.toml");
    let read = fs::read(benches.join(&manifest)).and_then(|content| {
        found.insert(manifest, content);
        walk(benches, Path::new("src"), &mut found)
    });
    read.map_err(|error| format!("{}: {error}", benches.display()))?;
    Ok(found)
}

/// Puts these files in the place of a revision's own, whose lockfile stays. Touches nothing if they
/// are there already.
fn replace(benches: &Path, with: &BTreeMap<PathBuf, Vec<u8>>) -> Outcome<()> {
    if files(benches).is_ok_and(|own| own == *with) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(benches.join("src"));
    let write = |(path, content): (&PathBuf, &Vec<u8>)| {
        let path = benches.join(path);
        fs::create_dir_all(path.parent().unwrap_or(benches))?;
        fs::write(path, content)
    };
    let done: io::Result<()> = with.iter().try_for_each(write);
    done.map_err(|error| format!("{}: {error}", benches.display()))
}

/// What git says, in the repository of these benches.
fn git(args: &[&str]) -> Outcome<String> {
    let output = output(
        Command::new("git")
            .current_dir(format!("{HERE}/.."))
            .args(args),
    )?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim_end().to_owned())
}

fn output(command: &mut Command) -> Outcome<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
