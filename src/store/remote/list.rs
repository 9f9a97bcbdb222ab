//! Bucket listings, page by page; each page has the full retry budget.

use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::answers::{UnaddressableKey, UnaddressableKeys};
use super::bucket::Bucket;
use super::error::Broken;
use crate::store::StoreError;

/// The objects and folders below a prefix, as the store lists them.
#[derive(Debug, Default)]
pub(in crate::store) struct RawListing {
    /// In order of key.
    pub(in crate::store) objects: Vec<ObjectMeta>,
    /// Objects that cannot be read, because no client could name them.
    pub(in crate::store) unaddressable: Vec<UnaddressableKey>,
    folders: Vec<Path>,
}

impl Bucket {
    /// All objects whose keys begin with the prefix and a slash, but for what consoles put down where a folder is made.
    pub(in crate::store) fn list(&self, prefix: &str) -> Result<RawListing, StoreError> {
        let path = self.path(prefix)?;
        let mut below = self.pages(prefix, None)?;
        let listed = &mut below.objects;
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        let is_folder: Vec<bool> = listed.iter().map(|found| is_marker(found, &path, listed)).collect();
        let mut is_folder = is_folder.into_iter();
        listed.retain(|_| is_folder.next() != Some(true));
        below.unaddressable.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(below)
    }

    /// The names of the folders right below a prefix, in order.
    pub(in crate::store) fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let below = self.pages(prefix, Some("/"))?;
        let names = below.folders.iter().filter_map(|p| p.filename().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    fn pages(&self, prefix: &str, delimiter: Option<&'static str>) -> Result<RawListing, StoreError> {
        let (mut below, mut token) = (RawListing::default(), None);
        let start = (!prefix.is_empty()).then(|| format!("{prefix}/"));
        loop {
            let unaddressable = UnaddressableKeys::default();
            let mut options = PaginatedListOptions {
                delimiter: delimiter.map(Into::into),
                page_token: token.clone(),
                ..PaginatedListOptions::default()
            };
            options.extensions.insert(unaddressable.clone());
            let page = self.ask("list", prefix, || {
                let (client, options) = (self.client(), options.clone());
                let start = start.as_deref();
                async move {
                    match &client.pages {
                        Some(pages) => pages.list_paginated(start, options).await,
                        None => Err(object_store::Error::NotImplemented {
                            operation: "a list".to_owned(),
                            implementer: "a web server".to_owned(),
                        }),
                    }
                }
            })?;
            let ListResult { common_prefixes, objects, .. } = page.result;
            below.objects.extend(objects);
            below.folders.extend(common_prefixes);
            below.unaddressable.extend(unaddressable.take());
            match page.page_token.filter(|next| !next.is_empty()) {
                None => return Ok(below),
                Some(next) if token.as_ref() == Some(&next) => {
                    let what = "a page of the list names itself as the next one";
                    return Err(self.error("list", prefix, &Broken::Alien { what }.into()));
                }
                next => token = next,
            }
        }
    }
}

/// Whether an object only stands for a folder: it is empty, and the prefix itself or above other objects. The client
/// takes the slash off its key, so that it could not even be read.
fn is_marker(found: &ObjectMeta, prefix: &Path, sorted: &[ObjectMeta]) -> bool {
    if found.size != 0 {
        return false;
    }
    let below = format!("{}/", found.location);
    let next = sorted.partition_point(|other| other.location.as_ref() < below.as_str());
    found.location == *prefix || sorted.get(next).is_some_and(|other| other.location.as_ref().starts_with(&below))
}
