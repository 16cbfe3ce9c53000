//! WESL → WGSL: which file answers a slot, the generated prelude, and the committed file's header.

use std::{collections::BTreeMap, collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use wesl::{ManglerKind, ModulePath, VirtualResolver, Wesl, syntax::PathOrigin};

use super::{COMMAND, Requirement, Variant};

/// All hand-written sources, by path relative to the source directory with `/` between folders.
pub(super) struct Modules {
    files: BTreeMap<String, String>,
}

impl Modules {
    pub(super) fn read(source: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for folder in ["", "slot", "module"] {
            let directory = source.join(folder);
            if !directory.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&directory)
                .with_context(|| format!("cannot list {}", directory.display()))?
            {
                let path = entry?.path();
                if path.extension().is_none_or(|extension| extension != "wesl") {
                    continue;
                }
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let key = if folder.is_empty() {
                    name.into_owned()
                } else {
                    format!("{folder}/{name}")
                };
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                files.insert(key, text.replace("\r\n", "\n"));
            }
        }
        Ok(Self { files })
    }

    /// The WGSL of one variant, with its header.
    pub(super) fn compile(&self, variant: &Variant) -> Result<String> {
        let mut resolver = VirtualResolver::new();
        let kernel_file = kernel_file(variant);
        resolver.add_module(
            module_path(&[&variant.kernel]),
            self.text(&kernel_file)?.into(),
        );
        for (slot, choice) in &variant.slots {
            resolver.add_module(
                module_path(&["slot", slot]),
                self.text(&slot_file(slot, choice))?.into(),
            );
        }
        for (file, text) in &self.files {
            if let Some(name) = file
                .strip_prefix("module/")
                .and_then(|name| name.strip_suffix(".wesl"))
            {
                resolver.add_module(module_path(&["module", name]), text.into());
            }
        }
        resolver.add_module(
            module_path(&["prelude"]),
            prelude(&variant.constants).into(),
        );

        let mut compiler = Wesl::new_barebones().set_custom_resolver(resolver);
        // wesl does not know the names of cooperative matrices; naga, which validates every variant, does.
        let known = !variant.requires.contains(&Requirement::CooperativeMatrix);
        compiler.set_options(wesl::CompileOptions {
            validate: known,
            ..wesl::CompileOptions::default()
        });
        // Where two modules define one name, wesl refuses them.
        compiler.set_mangler(ManglerKind::None);
        compiler.use_sourcemap(true);
        compiler.set_missing_feature_behavior(false);
        compiler.set_features(variant.features.iter().map(|feature| (feature, true)));
        let compiled = compiler
            .compile(&module_path(&[&variant.kernel]))
            .map_err(|error| anyhow!("{kernel_file}: {error}"))?;
        Ok(header(variant) + compiled.to_string().trim_end() + "\n")
    }

    /// Fails on a kernel or slot file that no variant uses.
    pub(super) fn all_used<'a>(&self, variants: impl Iterator<Item = &'a Variant>) -> Result<()> {
        let mut used = BTreeSet::new();
        for variant in variants {
            used.insert(kernel_file(variant));
            used.extend(
                variant
                    .slots
                    .iter()
                    .map(|(slot, choice)| slot_file(slot, choice)),
            );
        }
        let unused: Vec<&str> = (self.files.keys())
            .filter(|file| !file.starts_with("module/") && !used.contains(*file))
            .map(String::as_str)
            .collect();
        if !unused.is_empty() {
            bail!(
                "wgsl/{}: no line of kernels.toml uses it; add one or delete the file",
                unused.join(", wgsl/")
            );
        }
        Ok(())
    }

    fn text(&self, file: &str) -> Result<&str> {
        self.files
            .get(file)
            .map(String::as_str)
            .ok_or_else(|| anyhow!("wgsl/{file} does not exist"))
    }
}

fn kernel_file(variant: &Variant) -> String {
    format!("{}.wesl", variant.kernel)
}

fn slot_file(slot: &str, choice: &str) -> String {
    format!("slot/{slot}.{choice}.wesl")
}

fn module_path(components: &[&str]) -> ModulePath {
    ModulePath::new(
        PathOrigin::Absolute,
        components.iter().map(ToString::to_string).collect(),
    )
}

/// Module `package::prelude`. Constants, because a WGSL `override` can size neither register arrays nor tiles.
fn prelude(constants: &BTreeMap<String, u32>) -> String {
    constants
        .iter()
        .map(|(name, value)| format!("const {name}: u32 = {value}u;\n"))
        .collect()
}

fn header(variant: &Variant) -> String {
    let slots: Vec<String> = variant
        .slots
        .iter()
        .map(|(slot, choice)| slot_file(slot, choice))
        .collect();
    let with = if slots.is_empty() {
        String::new()
    } else {
        format!(" with {}", slots.join(", "))
    };
    format!(
        "// {}: written by `{COMMAND}` from {}{with}.\n\n",
        variant.id(),
        kernel_file(variant)
    )
}
