use std::fs;

use crate::TestEnv;

/// The hosts of every fleet that [`TestEnv::fleet`] makes, with the directories of their files.
pub const HOSTS: [(&str, &str); 4] = [
    ("router1", "nodes/routers/router1"),
    ("router2", "nodes/routers/router2"),
    ("server1", "nodes/servers/server1"),
    ("server2", "nodes/servers/server2"),
];

/// The groups of the fleet.
const GROUPS: [(&str, &str); 2] = [
    ("routers", "{ common = { os = \"nixos\"; }; router1 = { }; router2 = { }; }\n"),
    ("servers", "{ common = { os = \"nixos\"; }; server1 = { }; server2 = { }; }\n"),
];

/// What a fleet is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Whether the master is written in YAML rather than in Nix.
    pub yaml: bool,
    /// Whether there is a `private/` that takes what is generated.
    pub private: bool,
    /// Whether the directory is a git repository.
    pub git: bool,
}

impl TestEnv {
    /// Makes a fleet with four hosts in two groups, an admin's key in the home directory, and an empty master.
    ///
    /// # Panics
    ///
    /// When `init` fails.
    #[track_caller]
    pub fn fleet(&mut self, shape: Shape) -> &mut Self {
        if shape.git {
            self.tool("git", &["init", "--quiet"]);
        }
        if shape.private {
            fs::create_dir(self.path("fleet/private")).unwrap();
        }
        self.fleet_in_place(shape.yaml)
    }

    /// The same in a directory that is prepared already.
    ///
    /// # Panics
    ///
    /// When `init` fails.
    #[track_caller]
    pub fn fleet_in_place(&mut self, yaml: bool) -> &mut Self {
        for (group, text) in GROUPS {
            let directory = self.path("fleet/nodes").join(group);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("group.nix"), text).unwrap();
        }
        let format = if yaml { "yaml" } else { "nix" };
        self.run(&["init", "--repo", ".", "--format", format]).ends(0);
        self
    }

    /// Sets secrets, each a path and a value.
    ///
    /// # Panics
    ///
    /// When one cannot be set.
    #[track_caller]
    pub fn secrets(&mut self, secrets: &[(&str, &str)]) -> &mut Self {
        for (path, value) in secrets {
            self.run_with(&["set", path], value).ends(0);
        }
        self
    }

    /// Opens a host's sealed file with the host's own key; nothing when the host has none.
    ///
    /// # Panics
    ///
    /// When there is a file that does not open.
    #[track_caller]
    pub fn delivered(&self, host: &str) -> Option<String> {
        let (_, directory) = HOSTS.iter().find(|(name, _)| *name == host).unwrap();
        let places =
            [format!("{directory}/secrets.yaml"), format!("private/{directory}/secrets.yaml")];
        let there: Vec<_> =
            places.iter().filter(|place| self.path("fleet").join(place).exists()).collect();
        assert!(there.len() < 2, "{host} has two sealed files");
        let file = there.first()?;
        Some(self.run(&["decrypt", file, "--node", host]).ends(0).out)
    }
}
