//! `cargo xtask setup`: a machine on which the tests and the program find an adapter.
//!
//! What an adapter is and whether it works, `llama-cli doctor --json` says, which this builds. It installs one thing,
//! a software Vulkan driver, on Debian and its relatives only, and says so first.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// Debian's package of Mesa's Vulkan drivers, llvmpipe among them; it brings the loader.
const DEBIAN_PACKAGE: &str = "mesa-vulkan-drivers";

/// Which build brings the llama-cli that is asked, so that a command that needs one anyway makes no second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The program alone, unoptimised.
    Program,
    /// The program alone, as people run it.
    Release,
    /// Programs and examples of the whole workspace, with the features that its tests are built with.
    Workspace,
}

impl Build {
    /// What cargo builds.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Build::Program => &["build", "--package", "llama-cli"],
            Build::Release => &["build", "--package", "llama-cli", "--release"],
            Build::Workspace => &["build", "--workspace", "--bins", "--examples", "--locked"],
        }
    }

    /// Where it leaves an executable: `llama-cli`, or `examples/prompt`.
    ///
    /// # Errors
    /// `cargo metadata` fails.
    pub fn executable(self, name: &str) -> Result<PathBuf> {
        let profile = if self == Build::Release {
            "release"
        } else {
            "debug"
        };
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        Ok(process::target()?.join(profile).join(file))
    }
}

/// Whether to ask before something is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Ask on the terminal.
    Ask,
    /// `--yes`.
    Given,
}

/// What of `llama-cli doctor --json` matters here.
#[derive(Debug, Deserialize)]
struct Doctor {
    adapters: Vec<Adapter>,
    /// The index of the adapter that works and would be used.
    chosen: Option<usize>,
    #[serde(default)]
    missing: Vec<Missing>,
}

#[derive(Debug, Deserialize)]
struct Adapter {
    index: usize,
    name: String,
    backend: String,
}

#[derive(Debug, Deserialize)]
struct Missing {
    what: String,
    how: String,
}

/// Finds a working adapter, and installs a software one where there is none and that can be done.
///
/// # Errors
/// llama-cli does not build, or there is still no working adapter.
pub fn setup(consent: Consent, build: Build) -> Result<()> {
    let doctor = ask_doctor(build)?;
    if let Some(adapter) = doctor.working() {
        return report(adapter);
    }
    eprintln!(
        "setup: no working adapter ({} found)",
        doctor.adapters.len()
    );
    if !cfg!(target_os = "linux") {
        bail!("{}", doctor.advice());
    }
    install_software_driver(consent)?;
    let doctor = ask_doctor(build)?;
    match doctor.working() {
        Some(adapter) => report(adapter),
        None => bail!(
            "the driver is installed, but there is no working adapter: {}",
            doctor.advice()
        ),
    }
}

fn report(adapter: &Adapter) -> Result<()> {
    eprintln!("setup: {} ({}) works", adapter.name, adapter.backend);
    Ok(())
}

fn ask_doctor(build: Build) -> Result<Doctor> {
    eprintln!("setup: building llama-cli to ask it for an adapter");
    process::run(&mut process::cargo(build.arguments())?)?;
    let mut command = process::command(build.executable("llama-cli")?)?;
    command.args(["doctor", "--json"]);
    // Without an adapter doctor fails, and says all the same what it found.
    let output = process::read_any(&mut command)?;
    Doctor::parse(&output.stdout)
        .with_context(|| format!("`{}` ({})", process::line(&command), output.status))
}

impl Doctor {
    fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).context("not doctor's JSON")
    }

    fn working(&self) -> Option<&Adapter> {
        let chosen = self.chosen?;
        self.adapters.iter().find(|adapter| adapter.index == chosen)
    }

    fn advice(&self) -> String {
        let lines = self
            .missing
            .iter()
            .map(|missing| format!("{}: {}", missing.what, missing.how));
        lines.collect::<Vec<_>>().join("; ")
    }
}

fn install_software_driver(consent: Consent) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    match installer(&release) {
        Installer::Apt => {}
        Installer::Named(package) => bail!("install the package {package}, then run this again"),
        Installer::Unknown => {
            bail!(
                "install your distribution's package of Mesa's software Vulkan driver (lavapipe), then run this again"
            )
        }
    }
    let root = process::read(Command::new("id").arg("-u"))?
        .stdout
        .trim_ascii()
        == b"0";
    let sudo = if root { "" } else { "sudo " };
    eprintln!(
        "setup: this will run `{sudo}apt-get install {DEBIAN_PACKAGE}`, Mesa's software Vulkan driver (llvmpipe)"
    );
    if consent == Consent::Ask && !agreed()? {
        bail!("nothing was installed; `cargo xtask setup --yes` asks no question");
    }
    // A fresh container has no package lists; a machine that has them may be offline and have the package.
    if let Err(error) = process::run(&mut apt_get(root, &["update"])) {
        eprintln!("setup: {error:#}; trying with the lists that are there");
    }
    process::run(&mut apt_get(
        root,
        &[
            "install",
            "--yes",
            "--no-install-recommends",
            DEBIAN_PACKAGE,
        ],
    ))
}

fn apt_get(root: bool, arguments: &[&str]) -> Command {
    let mut command = Command::new(if root { "env" } else { "sudo" });
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(arguments);
    command
}

fn agreed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("setup: go on? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// How a distribution installs Mesa's software Vulkan driver.
#[derive(Debug, PartialEq, Eq)]
enum Installer {
    /// `apt-get` and Debian's name.
    Apt,
    /// The package's name, for the user to install.
    Named(&'static str),
    /// Not known.
    Unknown,
}

/// Reads `ID` and `ID_LIKE` of `/etc/os-release`.
fn installer(os_release: &str) -> Installer {
    let fields: BTreeMap<&str, &str> = os_release
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key, value.trim_matches('"')))
        .collect();
    let names = ["ID", "ID_LIKE"]
        .into_iter()
        .filter_map(|key| fields.get(key))
        .flat_map(|ids| ids.split(' '));
    for name in names {
        match name {
            "debian" | "ubuntu" => return Installer::Apt,
            "fedora" | "rhel" | "centos" => return Installer::Named("mesa-vulkan-drivers"),
            "arch" => return Installer::Named("vulkan-swrast"),
            "alpine" => return Installer::Named("mesa-vulkan-swrast"),
            "suse" | "opensuse" => return Installer::Named("libvulkan_lvp"),
            "gentoo" => return Installer::Named("media-libs/mesa with VIDEO_CARDS=lavapipe"),
            "void" => return Installer::Named("mesa-vulkan-lavapipe"),
            _ => {}
        }
    }
    Installer::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_told_apart() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(installer(debian), Installer::Apt);
        assert_eq!(
            installer("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"),
            Installer::Apt
        );
        assert_eq!(
            installer("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"),
            Installer::Named("libvulkan_lvp")
        );
        assert_eq!(installer("ID=arch"), Installer::Named("vulkan-swrast"));
        assert_eq!(installer("ID=plan9"), Installer::Unknown);
        assert_eq!(installer(""), Installer::Unknown);
    }

    #[test]
    fn an_adapter_works_when_doctor_would_choose_it() {
        let with = |chosen: &str| {
            let json = format!(
                r#"{{"adapters": [{{"index": 3, "name": "llvmpipe", "backend": "vulkan"}}], "chosen": {chosen},
                    "missing": [{{"what": "a GPU", "how": "buy one"}}]}}"#
            );
            Doctor::parse(json.as_bytes()).unwrap()
        };
        assert_eq!(
            with("3").working().map(|adapter| adapter.name.as_str()),
            Some("llvmpipe")
        );
        assert!(with("null").working().is_none());
        assert_eq!(with("null").advice(), "a GPU: buy one");
        assert!(Doctor::parse(b"").is_err());
    }
}
