//! Imports between the source files, read with `syn`. Code that only tests compile is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A source file below `src`.
pub(super) struct Source {
    /// Path below `src`, such as `kinds/mod.rs`.
    pub(super) name: String,
    pub(super) text: String,
    items: Vec<Item>,
}

/// An import: a file that names something of another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    /// The path as it is resolved, such as `crate::kinds::lookup`.
    pub(super) path: String,
}

/// Returns the first part of a file's name: `kinds` of `kinds/mod.rs`, `clock` of `clock.rs`.
pub(super) fn top(name: &str) -> &str {
    let first = name.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Returns the outermost of the folders that lead to `folder` and do not hold the file `from`: the one that an
/// import enters.
pub(super) fn entered_folder(from: &str, folder: &str) -> Option<String> {
    let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
    let mut folders = ends.map(|end| &folder[..end]);
    folders.find(|folder| !from.starts_with(&format!("{folder}/"))).map(str::to_owned)
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Source {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{name}: {error}"));
        let items = file.items.into_iter().filter(|item| !is_test(attributes(item))).collect();
        Source { name: name.to_owned(), text: text.to_owned(), items }
    }

    /// Returns the parts of the module's path behind `crate`.
    fn module(&self) -> Vec<String> {
        let path = self.name.strip_suffix(".rs").unwrap();
        let path = path.strip_suffix("/mod").unwrap_or(path);
        match path {
            "lib" | "main" => Vec::new(),
            path => path.split('/').map(str::to_owned).collect(),
        }
    }

    /// Returns whether the file has async code, or names a library that is async.
    pub(super) fn is_async(&self) -> bool {
        struct Async(bool);
        impl<'ast> Visit<'ast> for Async {
            fn visit_signature(&mut self, signature: &'ast syn::Signature) {
                self.0 |= signature.asyncness.is_some();
                visit::visit_signature(self, signature);
            }
            fn visit_expr_async(&mut self, _: &'ast syn::ExprAsync) {
                self.0 = true;
            }
            fn visit_expr_await(&mut self, _: &'ast syn::ExprAwait) {
                self.0 = true;
            }
            fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
                if !is_test(&item.attrs) {
                    visit::visit_impl_item_fn(self, item);
                }
            }
            fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
                self.0 |= is_async_crate(&path.ident.to_string());
            }
            fn visit_path(&mut self, path: &'ast syn::Path) {
                self.0 |= path.segments.len() > 1 && is_async_crate(&path.segments[0].ident.to_string());
                visit::visit_path(self, path);
            }
        }
        let mut found = Async(false);
        for item in &self.items {
            found.visit_item(item);
        }
        found.0
    }

    pub(super) fn lines_without_tests(&self) -> usize {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().lines().count()
    }
}

fn is_async_crate(name: &str) -> bool {
    ["tokio", "axum", "axum_server", "hyper", "hyper_util"].contains(&name)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns whether an item is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Files of the crate, without those that only tests use.
pub(super) struct Sources {
    files: Vec<Source>,
    /// File of each module.
    modules: BTreeMap<Vec<String>, String>,
}

impl Sources {
    pub(super) fn new(files: Vec<Source>) -> Sources {
        let modules = files.iter().filter(|file| !["lib.rs", "main.rs"].contains(&&*file.name));
        let modules = modules.map(|file| (file.module(), file.name.clone())).collect();
        Sources { files, modules }
    }

    pub(super) fn of_crate() -> Sources {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let read = |path: PathBuf| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            Source::new(name, &std::fs::read_to_string(&path).unwrap())
        };
        let files: Vec<_> = rust_files(&root).into_iter().map(read).collect();
        assert!(files.len() > 50, "the sources are missing");
        Sources::new(files)
    }

    pub(super) fn files(&self) -> &[Source] {
        &self.files
    }

    /// Returns every arrow between two files, once.
    pub(super) fn arrows(&self) -> Vec<Arrow> {
        let arrows: BTreeSet<Arrow> = self.files.iter().flat_map(|file| self.arrows_of(file)).collect();
        arrows.into_iter().collect()
    }

    fn arrows_of(&self, source: &Source) -> Vec<Arrow> {
        let mut reader =
            Reader { module: source.module(), sources: self, names: BTreeMap::new(), found: BTreeSet::new() };
        // Twice, because a path may begin with a name that a later `use` brings in.
        for item in source.items.iter().chain(&source.items) {
            reader.visit_item(item);
        }
        let arrow = |path: &Vec<String>| {
            let to = self.file_of(path)?;
            let path = format!("crate::{}", path.join("::"));
            (*to != source.name).then(|| Arrow { from: source.name.clone(), to: to.clone(), path })
        };
        reader.found.iter().filter_map(arrow).collect()
    }

    /// Returns the file of the longest module that a path begins with.
    fn file_of(&self, path: &[String]) -> Option<&String> {
        (1..=path.len()).rev().find_map(|len| self.modules.get(&path[..len]))
    }
}

/// Visitor that collects the paths into the crate that one file names.
struct Reader<'s> {
    module: Vec<String>,
    sources: &'s Sources,
    /// Modules by the names that the file has for them: its children, and imported ones.
    names: BTreeMap<String, Vec<String>>,
    found: BTreeSet<Vec<String>>,
}

impl Reader<'_> {
    /// Records a name under which the file reaches a module.
    fn declare(&mut self, name: String, path: Vec<String>) {
        if self.sources.modules.contains_key(&path) {
            self.names.insert(name, path);
        }
    }

    /// Returns the path behind `crate`, if the path leads into the crate.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" | "lookoutd" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            name => self.names.get(name)?.clone(),
        };
        for part in &path[1..] {
            match part.as_str() {
                "super" => drop(base.pop()?),
                part => base.push(part.to_owned()),
            }
        }
        Some(base)
    }

    /// Records a path of the code. A single word is a local name, whose import is recorded already.
    fn record(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.found.extend(self.resolve(path));
        }
    }

    /// Records the paths in a macro's arguments, which `syn` does not parse.
    fn record_tokens(&mut self, mut tokens: Cursor<'_>) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        while !tokens.eof() {
            if let Some((name, rest)) = tokens.ident() {
                if colons != 2 {
                    self.record(&std::mem::take(&mut path));
                }
                path.push(name.to_string());
                colons = 0;
                tokens = rest;
            } else if let Some((group, _, _, rest)) = tokens.any_group() {
                self.record_tokens(group);
                colons = 0;
                tokens = rest;
            } else if let Some((_, rest)) = tokens.token_tree() {
                let is_colon = tokens.punct().is_some_and(|(punct, _)| punct.as_char() == ':');
                colons = if is_colon { colons + 1 } else { 0 };
                tokens = rest;
            }
        }
        self.record(&path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, Vec::new(), &mut leaves);
        for (path, name) in leaves {
            if let Some(path) = self.resolve(&path) {
                self.found.insert(path.clone());
                self.declare(name, path);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.record(&parts);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        self.record_tokens(TokenBuffer::new2(found.tokens.clone()).begin());
        visit::visit_macro(self, found);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) {
            return;
        }
        let name = item.ident.to_string();
        self.module.push(name.clone());
        self.declare(name, self.module.clone());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }
}

/// Collects every leaf of a `use`, with the name that it has in the file.
fn flatten(tree: &UseTree, mut path: Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, leaves);
        }
        UseTree::Group(group) => {
            for item in &group.items {
                flatten(item, path.clone(), leaves);
            }
        }
        UseTree::Name(name) if name.ident == "self" => {
            let name = path.last().cloned().unwrap_or_default();
            leaves.push((path, name));
        }
        UseTree::Name(name) => {
            path.push(name.ident.to_string());
            leaves.push((path, name.ident.to_string()));
        }
        UseTree::Rename(rename) => {
            path.push(rename.ident.to_string());
            leaves.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => leaves.push((path, "*".to_owned())),
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if matches!(name, "tests" | "testing") || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the groups of files that reach each other, each as a line of names.
pub(super) fn cycles(arrows: &[Arrow]) -> Vec<String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for arrow in arrows {
        next.entry(&arrow.from).or_default().push(&arrow.to);
    }
    let reach = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for to in next.get(at).into_iter().flatten() {
                if seen.insert(*to) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, reach(file))).collect();
    let group = |file: &str| -> Vec<&str> {
        let reaches_back = |other: &&str| reached.get(other).is_some_and(|back| back.contains(file));
        reached[file].iter().copied().filter(reaches_back).collect()
    };
    let groups: BTreeSet<Vec<&str>> =
        reached.keys().map(|file| group(file)).filter(|group| !group.is_empty()).collect();
    groups.into_iter().map(|group| group.join(", ")).collect()
}
