use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::TestEnv;

impl TestEnv {
    /// Names every place that holds `needle`, plain or as base64 or hex: files in the test's directories except those
    /// that the test gave, files in `/dev/shm` that look like the program's, and objects of the fleet's repositories.
    ///
    /// # Panics
    ///
    /// When a repository cannot be read.
    pub fn holders(&self, needle: &str) -> Vec<String> {
        let needles = encodings(needle);
        let mut roots = vec![self.root().to_owned()];
        for place in ["/dev/shm", "/tmp", "/var/tmp"] {
            let entries = fs::read_dir(place).into_iter().flatten().flatten();
            let named = |path: &PathBuf| path.to_string_lossy().contains("nixmox");
            roots.extend(entries.map(|entry| entry.path()).filter(named));
        }
        let given = self.path("given");
        let mut found = Vec::new();
        for file in roots.iter().flat_map(|root| files(root)) {
            let holds = |bytes: Vec<u8>| needles.iter().any(|needle| contains(&bytes, needle));
            if !file.starts_with(&given) && fs::read(&file).is_ok_and(holds) {
                found.push(file.display().to_string());
            }
        }
        for repository in ["fleet", "fleet/private"] {
            if self.path(repository).join(".git").exists() {
                let objects = self.objects(repository);
                let held = needles.iter().any(|needle| contains(&objects, needle));
                found.extend(held.then(|| format!("an object of {repository}")));
            }
        }
        found
    }

    /// Returns the content of all objects of a repository, which are compressed on the disk.
    fn objects(&self, repository: &str) -> Vec<u8> {
        let mut git = self.command(Path::new("git"));
        git.current_dir(self.path(repository)).stderr(Stdio::inherit());
        git.args(["cat-file", "--batch-all-objects", "--batch"]);
        let output = git.output().expect("git cannot be run");
        assert!(output.status.success());
        output.stdout
    }
}

/// Lists all files below a directory, in order; links are not followed.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        // What others remove meanwhile is of no interest.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Copies a directory with everything in it, and the modes of files.
///
/// # Panics
///
/// When something cannot be copied, and at links, of which there are none.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        assert!(!kind.is_symlink(), "{}", entry.path().display());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Returns the needle plain, in hex, and in base64 at each of its three alignments without the ends that depend on
/// what stands beside it.
fn encodings(needle: &str) -> Vec<Vec<u8>> {
    let mut found = vec![needle.as_bytes().to_vec()];
    found.push(needle.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    for skip in 0..3 {
        let aligned = needle.as_bytes().get(skip..).unwrap_or_default();
        found.push(aligned.chunks_exact(3).flat_map(base64_of_three).collect());
    }
    found
}

fn base64_of_three(three: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
    [18, 12, 6, 0].iter().filter_map(|shift| DIGITS.get(bits >> shift & 63)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_found() {
        let env = TestEnv::of(Path::new("/bin/true"));
        let needle = "needle-in-a-haystack";
        env.give("mine", needle);
        assert_eq!(env.holders(needle), [""; 0]);
        fs::write(env.path("home/plain"), format!("x{needle}x")).unwrap();
        fs::write(env.path("run/base64"), "eHh4bmVlZGxlLWluLWEtaGF5c3RhY2s=").unwrap();
        fs::write(env.path("tmp/base64"), "eG5lZWRsZS1pbi1hLWhheXN0YWNreHg=").unwrap();
        env.tool("git", &["init", "--quiet"]);
        fs::write(env.path("fleet/file"), needle).unwrap();
        env.tool("git", &["add", "file"]);
        fs::remove_file(env.path("fleet/file")).unwrap();
        let found = env.holders(needle);
        let ends = ["home/plain", "run/base64", "tmp/base64", "an object of fleet"];
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().zip(ends).all(|(found, end)| found.ends_with(end)), "{found:?}");
    }
}
