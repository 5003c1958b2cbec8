//! Another revision's crates, built with benches that compile against them.

use std::{
    collections::BTreeMap,
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::rounds::Outcome;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The file that benches need to take turns. Older ones lack it.
const NEEDED: &str = "src/against/turns.rs";

pub struct Revision {
    commit: String,
    subject: String,
}

impl Revision {
    /// Resolves anything that git accepts as a commit.
    pub fn resolve(name: &str) -> Outcome<Self> {
        let commit = format!("{name}^{{commit}}");
        let commit = git(&["rev-parse", "--verify", "--end-of-options", &commit])?;
        let subject = git(&["log", "-1", "--format=%s", &commit])?;
        Ok(Self { commit, subject })
    }

    /// Builds the program from the newest benches that compile against the revision. Rows are best
    /// compared if both programs have the same benches.
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

    /// Builds these benches in that tree. The inner error is the output of the compiler.
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

/// Copies this program to a place where no build replaces it.
pub fn copy_of(program: &Path) -> Outcome<PathBuf> {
    let folder = kept();
    let copy = folder.join("program");
    let done = fs::create_dir_all(&folder).and_then(|()| fs::copy(program, &copy));
    done.map_err(|error| format!("{}: {error}", copy.display()))?;
    Ok(copy)
}

/// Returns the folder that is kept for the next run.
fn kept() -> PathBuf {
    Path::new(HERE).join("target/against")
}

/// Extracts these paths of a commit, or all if there are none, and returns the folder.
fn extracted(commit: &str, paths: &[&str]) -> Outcome<PathBuf> {
    let folder = kept().join([&[commit], paths].concat().join("-"));
    if folder.exists() {
        return Ok(folder);
    }
    // Extracts to a temporary name, so that an interrupted run leaves no incomplete folder.
    let part = folder.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
    let archive = part.join("archive.tar");
    let archive = archive
        .to_str()
        .ok_or("the path of the benches is no UTF-8")?;
    git(&[&["archive", "-o", archive, commit, "--"], paths].concat())?;
    // Cargo compares modification times, and those of a commit may be older than the last build.
    let unpack = ["--touch", "-xf", archive, "-C"];
    output(Command::new("tar").args(unpack).arg(&part))?;
    let done = fs::remove_file(archive).and_then(|()| fs::rename(&part, &folder));
    done.map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Reads the manifest and the source of benches.
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

/// Replaces a revision's benches by these files, except for the lockfile. Leaves equal files
/// untouched, so that Cargo doesn't build again.
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

/// Runs git in the repository of these benches, and returns its output.
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
