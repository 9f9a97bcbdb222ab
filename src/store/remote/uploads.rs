//! Lists unfinished uploads, which `object_store` cannot: S3's `ListMultipartUploads`, which GCS speaks too.
//!
//! Source of the format: Amazon S3 API Reference, `ListMultipartUploads`; Cloud Storage XML API, "List multipart uploads".

use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use serde::Deserialize;

use super::error::Broken;

/// An upload that was begun and neither completed nor aborted.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::store) struct Upload {
    pub(in crate::store) key: String,
    pub(in crate::store) upload_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    upload: Vec<Upload>,
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

/// Some of the unfinished uploads.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) uploads: Vec<Upload>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<Marker>,
}

/// Where a page begins, in the words of the service.
pub(super) type Marker = Vec<(String, String)>;

/// A page of the unfinished uploads below a prefix. No error holds the signature.
pub(super) async fn page(signer: &dyn Signer, prefix: &str, marker: Marker) -> object_store::Result<Page> {
    let lost = |error: reqwest::Error| {
        let error = HttpError::new(HttpErrorKind::Interrupted, error.without_url());
        object_store::Error::Generic { store: "uploads", source: Box::new(error) }
    };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(lost)?;
    let query = [("uploads".to_owned(), String::new()), ("prefix".to_owned(), format!("{prefix}/"))];
    let options = SignedUrlOptions::default().with_query(query.into_iter().chain(marker));
    let url = signer.signed_url_opts(Method::GET, &Path::default(), Duration::from_secs(60), &options).await?;
    let answer = client.get(url).send().await.map_err(lost)?;
    let status = answer.status();
    let text = answer.text().await.map_err(lost)?;
    // rclone's word for none.
    if status.as_u16() == 404 && text.contains("NoSuchUpload") {
        return Ok(Page::default());
    }
    if !status.is_success() {
        let source = format!("status code: {status}: {text}").into();
        return Err(object_store::Error::Generic { store: "uploads", source });
    }
    read(&text)
}

fn read(text: &str) -> object_store::Result<Page> {
    let alien = || Broken::Alien { what: "the list of unfinished uploads is cut short or is none" };
    if !text.contains("<ListMultipartUploadsResult") {
        return Err(alien().into());
    }
    let answer: Answer = quick_xml::de::from_str(text).map_err(|_| alien())?;
    let next = answer.next_key_marker.filter(|_| answer.is_truncated).map(|key| {
        let mut marker = vec![("key-marker".to_owned(), key)];
        marker.extend(answer.next_upload_id_marker.map(|id| ("upload-id-marker".to_owned(), id)));
        marker
    });
    Ok(Page { uploads: answer.upload, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let text = r#"<?xml version="1.0"?><ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>k</NextKeyMarker><IsTruncated>true</IsTruncated>
            <Upload><Key>a/b</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator></Upload>
            <Upload><Key>a/c</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"#;
        let page = read(text).unwrap();
        assert_eq!(page.next.unwrap(), [("key-marker".to_owned(), "k".to_owned())]);
        assert_eq!(page.uploads[1], Upload { key: "a/c".into(), upload_id: "2".into() });
        assert!(read("<ListMultipartUploadsResult/>").unwrap().uploads.is_empty());
        for text in ["", "<R></R>", "<Error><Code>SlowDown</Code></Error>", &text[..300]] {
            read(text).unwrap_err();
        }
    }
}
