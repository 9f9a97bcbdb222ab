//! The operations of S3 on what the server holds.
//!
//! One lock is around all of it, and taken once where something is checked and then changed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::TryStreamExt;
use s3s::dto;
use s3s::dto::StreamingBlob;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use sha2::{Digest, Sha256};

use super::state::{Bucket, Conditions, MAX_PAGE_SIZE, Object, State};

type Reply<T> = S3Result<S3Response<T>>;

/// What the page of a list before this one ended with.
enum After {
    Key(String),
    /// A common prefix, and so everything below it.
    Prefix(String),
}

impl After {
    fn from_token(token: &str) -> S3Result<Self> {
        let invalid = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
        let text = BASE64.decode(token.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match text.ok_or_else(invalid)?.split_once(':') {
            Some(("key", key)) => Ok(After::Key(key.to_owned())),
            Some(("prefix", prefix)) => Ok(After::Prefix(prefix.to_owned())),
            _ => Err(invalid()),
        }
    }

    fn token(&self) -> String {
        let text = match self {
            After::Key(key) => format!("key:{key}"),
            After::Prefix(prefix) => format!("prefix:{prefix}"),
        };
        BASE64.encode(text.as_bytes())
    }

    fn is_before(&self, key: &str) -> bool {
        match self {
            After::Key(after) => key > after.as_str(),
            After::Prefix(prefix) => key > prefix.as_str() && !key.starts_with(prefix),
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Backend(pub Arc<Mutex<State>>);

/// The whole body, if it is what its signature and its checksum say.
async fn received(body: Option<StreamingBlob>, sha256: Option<&str>) -> S3Result<Bytes> {
    let mut bytes = Vec::new();
    if let Some(mut body) = body {
        let failed = |_| s3_error!(BadDigest, "The body is not what was signed.");
        while let Some(chunk) = body.try_next().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
        }
    }
    if sha256.is_some_and(|expected| BASE64.encode(&Sha256::digest(&bytes)) != expected) {
        return Err(s3_error!(BadDigest, "The SHA256 you specified did not match the calculated checksum."));
    }
    Ok(bytes.into())
}

fn limit(asked: Option<i32>, page_size: usize) -> usize {
    asked.map_or(MAX_PAGE_SIZE, |n| usize::try_from(n).unwrap_or_default()).min(page_size).min(MAX_PAGE_SIZE)
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn head_bucket(&self, request: S3Request<dto::HeadBucketInput>) -> Reply<dto::HeadBucketOutput> {
        self.0.lock().unwrap().bucket(&request.input.bucket)?;
        Ok(S3Response::new(dto::HeadBucketOutput::default()))
    }

    async fn create_bucket(&self, request: S3Request<dto::CreateBucketInput>) -> Reply<dto::CreateBucketOutput> {
        let mut state = self.0.lock().unwrap();
        if state.bucket(&request.input.bucket).is_ok() {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        let location = Some(format!("/{}", request.input.bucket));
        state.buckets.insert(request.input.bucket, Bucket::default());
        Ok(S3Response::new(dto::CreateBucketOutput { location }))
    }

    async fn put_object(&self, request: S3Request<dto::PutObjectInput>) -> Reply<dto::PutObjectOutput> {
        let input = request.input;
        let bytes = received(input.body, input.checksum_sha256.as_deref()).await?;
        let object = Object::new(bytes).with(input.content_type, input.metadata);
        let e_tag = Some(object.etag.clone());
        let conditions = Conditions::new(input.if_match, input.if_none_match);
        let mut state = self.0.lock().unwrap();
        state.check(&input.bucket, &input.key, &conditions)?;
        let object = object.ahead(state.clock_ahead);
        state.bucket(&input.bucket)?.objects.insert(input.key, object);
        let checksum_sha256 = input.checksum_sha256;
        Ok(S3Response::new(dto::PutObjectOutput { e_tag, checksum_sha256, ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> Reply<dto::GetObjectOutput> {
        let input = request.input;
        let conditions = Conditions::new(input.if_match, input.if_none_match)
            .since(input.if_modified_since, input.if_unmodified_since);
        let object = self.0.lock().unwrap().read(&input.bucket, &input.key, &conditions)?;
        let whole = object.bytes.len();
        let (bytes, content_range) = match input.range {
            None => (object.bytes.clone(), None),
            Some(range) => {
                let range = range.check(whole as u64)?;
                let (first, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
                if first == end {
                    return Err(s3_error!(InvalidRange, "The requested range is not satisfiable"));
                }
                (object.bytes.slice(first..end), Some(format!("bytes {first}-{}/{whole}", end - 1)))
            }
        };
        Ok(S3Response::new(dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(bytes.len()).ok(),
            content_range,
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            content_type: object.content_type(),
            e_tag: Some(object.etag),
            last_modified: Some(object.modified),
            metadata: object.metadata,
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<dto::HeadObjectInput>) -> Reply<dto::HeadObjectOutput> {
        let input = request.input;
        let conditions = Conditions::new(input.if_match, input.if_none_match)
            .since(input.if_modified_since, input.if_unmodified_since);
        let object = self.0.lock().unwrap().read(&input.bucket, &input.key, &conditions)?;
        Ok(S3Response::new(dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.len()),
            content_type: object.content_type(),
            e_tag: Some(object.etag),
            last_modified: Some(object.modified),
            metadata: object.metadata,
            ..Default::default()
        }))
    }

    async fn list_objects_v2(&self, request: S3Request<dto::ListObjectsV2Input>) -> Reply<dto::ListObjectsV2Output> {
        let input = request.input;
        let mut state = self.0.lock().unwrap();
        let limit = limit(input.max_keys, state.page_size);
        let bucket = state.bucket(&input.bucket)?;
        let mut after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(After::from_token(token)?),
            (None, start_after) => start_after.clone().map(After::Key),
        };
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
        let mut is_truncated = false;
        for (key, object) in bucket.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            if after.as_ref().is_some_and(|after| !after.is_before(key)) {
                continue;
            }
            if contents.len() + common_prefixes.len() == limit {
                is_truncated = limit > 0;
                break;
            }
            let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
            let end = delimiter.and_then(|d| Some(prefix.len() + key[prefix.len()..].find(d)? + d.len()));
            if let Some(end) = end {
                common_prefixes.push(dto::CommonPrefix { prefix: Some(key[..end].to_owned()) });
                after = Some(After::Prefix(key[..end].to_owned()));
                continue;
            }
            contents.push(dto::Object {
                key: Some(key.clone()),
                e_tag: Some(object.etag.clone()),
                last_modified: Some(object.modified.clone()),
                size: Some(object.len()),
                ..Default::default()
            });
            after = Some(After::Key(key.clone()));
        }
        Ok(S3Response::new(dto::ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            max_keys: i32::try_from(limit).ok(),
            next_continuation_token: after.filter(|_| is_truncated).map(|after| after.token()),
            is_truncated: Some(is_truncated),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter,
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<dto::DeleteObjectInput>) -> Reply<dto::DeleteObjectOutput> {
        let mut state = self.0.lock().unwrap();
        let bucket = state.bucket(&request.input.bucket)?;
        if bucket.locked.contains(&request.input.key) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        bucket.objects.remove(&request.input.key);
        Ok(S3Response::new(dto::DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, request: S3Request<dto::DeleteObjectsInput>) -> Reply<dto::DeleteObjectsOutput> {
        let mut state = self.0.lock().unwrap();
        let bucket = state.bucket(&request.input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for dto::ObjectIdentifier { key, .. } in request.input.delete.objects {
            if bucket.locked.contains(&key) {
                let (code, message) = (Some("AccessDenied".to_owned()), Some("Access Denied".to_owned()));
                errors.push(dto::Error { code, message, key: Some(key), ..Default::default() });
            } else {
                bucket.objects.remove(&key);
                deleted.push(dto::DeletedObject { key: Some(key), ..Default::default() });
            }
        }
        let deleted = (request.input.delete.quiet != Some(true)).then_some(deleted);
        Ok(S3Response::new(dto::DeleteObjectsOutput { deleted, errors: Some(errors), ..Default::default() }))
    }

    async fn copy_object(&self, request: S3Request<dto::CopyObjectInput>) -> Reply<dto::CopyObjectOutput> {
        let input = request.input;
        let dto::CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let conditions = Conditions::new(input.copy_source_if_match, input.copy_source_if_none_match)
            .since(input.copy_source_if_modified_since, input.copy_source_if_unmodified_since);
        let mut state = self.0.lock().unwrap();
        let source = state.read(bucket, key, &conditions)?;
        let copy = Object::new(source.bytes).with(source.content_type, source.metadata);
        let result = dto::CopyObjectResult {
            e_tag: Some(copy.etag.clone()),
            last_modified: Some(copy.modified.clone()),
            ..Default::default()
        };
        state.bucket(&input.bucket)?.objects.insert(input.key, copy);
        Ok(S3Response::new(dto::CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> Reply<dto::CreateMultipartUploadOutput> {
        let input = request.input;
        let template = Object::new(Bytes::new()).with(input.content_type, input.metadata);
        let id = self.0.lock().unwrap().begin_upload(&input.bucket, &input.key, template)?;
        Ok(S3Response::new(dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<dto::UploadPartInput>) -> Reply<dto::UploadPartOutput> {
        let input = request.input;
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument));
        }
        let part = Object::new(received(input.body, input.checksum_sha256.as_deref()).await?);
        let e_tag = Some(part.etag.clone());
        let mut state = self.0.lock().unwrap();
        let upload = state.bucket(&input.bucket)?.uploads.get_mut(&(input.key, input.upload_id));
        upload
            .ok_or_else(|| s3_error!(NoSuchUpload, "The specified multipart upload does not exist."))?
            .parts
            .insert(input.part_number, part);
        let checksum_sha256 = input.checksum_sha256;
        Ok(S3Response::new(dto::UploadPartOutput { e_tag, checksum_sha256, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> Reply<dto::CompleteMultipartUploadOutput> {
        let input = request.input;
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let conditions = Conditions::new(input.if_match, input.if_none_match);
        let name = (input.key.clone(), input.upload_id);
        let mut state = self.0.lock().unwrap();
        let allow_small_parts = state.allow_small_parts;
        let upload = state
            .bucket(&input.bucket)?
            .uploads
            .get(&name)
            .ok_or_else(|| s3_error!(NoSuchUpload, "The specified multipart upload does not exist."))?;
        let object = upload.assemble(&listed, allow_small_parts)?;
        state.check(&input.bucket, &input.key, &conditions)?;
        let e_tag = Some(object.etag.clone());
        let bucket = state.bucket(&input.bucket)?;
        bucket.uploads.remove(&name);
        bucket.objects.insert(input.key.clone(), object);
        Ok(S3Response::new(dto::CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag,
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> Reply<dto::AbortMultipartUploadOutput> {
        let input = request.input;
        let mut state = self.0.lock().unwrap();
        let upload = state.bucket(&input.bucket)?.uploads.remove(&(input.key, input.upload_id));
        upload.ok_or_else(|| s3_error!(NoSuchUpload, "The specified multipart upload does not exist."))?;
        Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> Reply<dto::ListMultipartUploadsOutput> {
        let input = request.input;
        let mut state = self.0.lock().unwrap();
        let limit = limit(input.max_uploads, state.page_size);
        let bucket = state.bucket(&input.bucket)?;
        let is_asked = |key: &str, id: &str| {
            let is_after = match (&input.key_marker, &input.upload_id_marker) {
                (None, _) => true,
                (Some(after_key), None) => key > after_key.as_str(),
                (Some(after_key), Some(after_id)) => (key, id) > (after_key.as_str(), after_id.as_str()),
            };
            is_after && input.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
        };
        let mut found = bucket.uploads.iter().filter(|((key, id), _)| is_asked(key, id));
        let uploads: Vec<_> = (&mut found)
            .take(limit)
            .map(|((key, id), upload)| dto::MultipartUpload {
                key: Some(key.clone()),
                upload_id: Some(id.clone()),
                initiated: Some(upload.template.modified.clone()),
                ..Default::default()
            })
            .collect();
        let is_truncated = found.next().is_some();
        let last = uploads.last().filter(|_| is_truncated);
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(is_truncated),
            next_key_marker: last.and_then(|upload| upload.key.clone()),
            next_upload_id_marker: last.and_then(|upload| upload.upload_id.clone()),
            prefix: input.prefix.clone(),
            uploads: Some(uploads),
            ..Default::default()
        }))
    }
}
