//! Parquet as other programs write it: codecs, INT96, UUIDs, and tables that are no plain files.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, LogicalType, Type as PhysicalType};
use parquet::data_type::{Int96, Int96Type};
use parquet::file::metadata::ParquetMetaDataWriter;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::project::{NOW, Package, Project};
use crate::s3_server::S3Server;
use crate::stores::call;

const WINDOW: &str = "window: {date_from: 2026-03-05, date_to: 2026-03-07}\npartition: {by: none}\ncompression: none";

/// 2026-03-05T10:00:00Z in microseconds, and a day.
const FIRST: i64 = 1_772_704_800_000_000;
const DAY: i64 = 86_400_000_000;

const UUID: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";
const OTHER: &str = "00000000-0000-4000-8000-00000000000f";

fn times(rows: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(|i| FIRST + i * DAY)).with_timezone("UTC"))
}

fn events() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=3));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    RecordBatch::try_from_iter(vec![("occurred_at", times(3)), ("id", ids), ("text", text)]).unwrap()
}

fn written(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// The file as if column `text` were compressed with LZO, which nothing here decodes.
fn with_lzo() -> Vec<u8> {
    let bytes = written(&events());
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes.clone())).unwrap();
    let metadata = reader.metadata().clone();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let is_text = column.column_path().string() == "text";
            let codec = if is_text { Compression::LZO } else { column.compression() };
            column.clone().into_builder().set_compression(codec).build().unwrap()
        });
        group.clone().into_builder().set_column_metadata(columns.collect()).build().unwrap()
    });
    let groups = groups.collect();
    let changed = metadata.into_builder().set_row_groups(groups).build();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    let mut out = bytes[..bytes.len() - 8 - length as usize].to_vec();
    ParquetMetaDataWriter::new(&mut out, &changed).finish().unwrap();
    out
}

#[test]
fn a_column_that_cannot_be_decoded_is_refused_by_doctor_plan_and_run_unless_it_is_left_out() {
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\nformat: csv"));
    project.write("x.parquet", with_lzo());
    let why = "x.parquet: row group 0: column text is compressed with LZO, which is not supported; rewrite the file with ZSTD \
               or SNAPPY pages, or leave the column out with `columns`";
    project.call(&["doctor", "spec.yaml", "--now", NOW]).exits(4).says(&["x  files", why]);
    project.call(&["plan", "spec.yaml", "--now", NOW]).exits(4).says(&[why]);
    project.run(&[]).exits(4).says(&[why]);
    assert!(!project.path("package").exists(), "nothing was begun");
    project
        .spec(&format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\nformat: csv\ncolumns: [occurred_at, id]"));
    project.call(&["doctor", "spec.yaml", "--now", NOW]).exits(0);
    assert_eq!(project.complete().rows().len(), 3);
}

fn int96(day: u32, nanosecond: u64) -> Int96 {
    let mut value = Int96::new();
    value.set_data(nanosecond as u32, (nanosecond >> 32) as u32, day + 2_440_588);
    value
}

/// 2026-03-05 and 9999-12-31 in days since 1970.
const MARCH: u32 = 20_517;
const SENTINEL: u32 = 2_932_896;

/// Two rows of INT96: the time, and a column whose second value is a sentinel.
fn int96_file(nanosecond: u64) -> Vec<u8> {
    let schema = "message m { required int96 occurred_at; required group s { required int96 until; } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let columns = [[int96(MARCH, 0), int96(MARCH + 1, 0)], [int96(MARCH, nanosecond), int96(SENTINEL, 0)]];
    for values in columns {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn int96_sentinels_are_exported_as_they_are_in_every_format() {
    for format in ["csv", "ndjson", "parquet"] {
        let project =
            Project::with_spec(&format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\nformat: {format}"));
        project.write("x.parquet", int96_file(1_000));
        let rows = project.complete().rows();
        let text = serde_json::to_string(&rows).unwrap();
        assert!(text.contains("9999-12-31T00:00:00") && text.contains("2026-03-05T00:00:00.000001"), "{text}");
    }
}

#[test]
fn int96_that_is_exact_in_no_unit_is_a_bad_row_of_its_place() {
    let spec = format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\nformat: csv");
    let project = Project::with_spec(&spec);
    project.write("x.parquet", int96_file(1));
    project.run(&[]).exits(4).says(&["x.parquet:2: row group 0: column s holds an INT96 time"]);
    let project = Project::with_spec(&format!("{spec}\non_bad_rows: reject"));
    project.write("x.parquet", int96_file(1));
    project.run(&[]).exits(3);
    let manifest = project.package().manifest();
    assert_eq!((&manifest["accounting"]["rejected"], &manifest["accounting"]["written"]), (&1.into(), &1.into()));
}

/// UUIDs at the top, in a struct, in a list and as values of a map, under Parquet's logical type.
fn uuids() -> Vec<u8> {
    let bytes_of =
        |text: &str| -> Vec<u8> { data_encoding::HEXLOWER.decode(text.replace('-', "").as_bytes()).unwrap() };
    let stored = |texts: &[Option<&str>]| -> ArrayRef {
        let values = texts.iter().map(|text| text.map(bytes_of));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap())
    };
    let binary = || DataType::FixedSizeBinary(16);
    let id = stored(&[Some(UUID), Some(OTHER), None]);
    let inside = Fields::from(vec![Field::new("id", binary(), true)]);
    let s = StructArray::new(inside, vec![stored(&[Some(OTHER), None, Some(UUID)])], None);
    let offsets = || OffsetBuffer::new(vec![0, 1, 1, 3].into());
    let item = Arc::new(Field::new("element", binary(), true));
    let l = ListArray::new(item, offsets(), stored(&[Some(UUID), Some(OTHER), None]), None);
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", binary(), true)]);
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "k", "l"]));
    let pairs = StructArray::new(entry.clone(), vec![keys, stored(&[Some(UUID), Some(OTHER), None])], None);
    let entries = Arc::new(Field::new("key_value", DataType::Struct(entry), false));
    let m = MapArray::new(entries, offsets(), pairs, None, false);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("occurred_at", times(3)), ("event_id", id), ("s", Arc::new(s)), ("l", Arc::new(l)), ("m", Arc::new(m))];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
    let plain = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let typed = plain.root_schema().get_fields().iter().map(as_uuid).collect();
    let root = Type::group_type_builder("m").with_fields(typed).build().unwrap();
    let options = ArrowWriterOptions::new().with_parquet_schema(SchemaDescriptor::new(Arc::new(root)));
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new_with_options(&mut bytes, schema, options.with_skip_arrow_metadata(true)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn as_uuid(field: &TypePtr) -> TypePtr {
    let info = field.get_basic_info();
    if field.is_primitive() {
        if field.get_physical_type() != PhysicalType::FIXED_LEN_BYTE_ARRAY {
            return field.clone();
        }
        let uuid = Type::primitive_type_builder(field.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY).with_length(16);
        let uuid = uuid.with_logical_type(Some(LogicalType::Uuid)).with_repetition(info.repetition());
        return Arc::new(uuid.build().unwrap());
    }
    let group = Type::group_type_builder(field.name())
        .with_repetition(info.repetition())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_converted_type(info.converted_type())
        .with_fields(field.get_fields().iter().map(as_uuid).collect());
    Arc::new(group.build().unwrap())
}

fn uuid_project(rest: &str) -> Project {
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\n{rest}"));
    project.write("x.parquet", uuids());
    project
}

#[test]
fn uuids_are_dashed_text_in_text_formats_at_every_depth() {
    let csv = uuid_project("format: csv").complete();
    assert_eq!(csv.rows()[0]["event_id"], UUID);
    let types = csv.manifest()["columns"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect::<Vec<_>>();
    assert_eq!(types[1], "uuid");
    assert_eq!(types[2], "struct<id: uuid>");
    assert_eq!(types[3], "list<uuid>");
    let rows = uuid_project("format: ndjson").complete().rows();
    assert_eq!(rows[0]["event_id"], UUID);
    assert_eq!(rows[2]["event_id"], serde_json::Value::Null);
    assert_eq!(rows[2]["s"], serde_json::json!({"id": UUID}));
    assert_eq!(rows[2]["l"], serde_json::json!([OTHER, null]));
    assert_eq!(rows[2]["m"], serde_json::json!({"k": OTHER, "l": null}));
}

/// The bytes of the one shard.
fn shard_of(package: &Package) -> Vec<u8> {
    std::fs::read(package.root.join(package.file("all")["path"].as_str().unwrap())).unwrap()
}

#[test]
fn uuids_keep_their_logical_type_and_bytes_in_parquet_at_every_depth() {
    let project = uuid_project("format: parquet");
    let package = project.complete();
    let shard = bytes::Bytes::from(shard_of(&package));
    let reader = SerializedFileReader::new(shard.clone()).unwrap();
    let leaves = reader.metadata().file_metadata().schema_descr().columns();
    let uuids: Vec<_> = leaves.iter().filter(|leaf| leaf.logical_type_ref() == Some(&LogicalType::Uuid)).collect();
    assert_eq!(
        uuids.iter().map(|leaf| leaf.path().string()).collect::<Vec<_>>(),
        ["event_id", "s.id", "l.list.element", "m.key_value.value"]
    );
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(shard, 10).unwrap();
    let batch = reader.into_iter().next().unwrap().unwrap();
    let bytes = batch.column(1).as_fixed_size_binary().value(0).to_vec();
    assert_eq!(data_encoding::HEXLOWER.encode(&bytes), UUID.replace('-', ""));
    // What was written is a source as good as the first.
    let again = Project::with_spec(&format!("type: events\nsource: {{uri: y.parquet}}\n{WINDOW}\nformat: ndjson"));
    again.write("y.parquet", shard_of(&package));
    assert_eq!(again.complete().rows(), uuid_project("format: ndjson").complete().rows());
}

#[test]
fn uuids_are_found_by_their_text_in_any_case() {
    let upper = UUID.to_uppercase();
    for (condition, rows) in [
        (format!("filters: {{event_id: {UUID}}}"), 1),
        (format!("filters: {{event_id: {upper}}}"), 1),
        (format!("filters: {{event_id: [{upper}, {OTHER}]}}"), 2),
        (format!("filters: {{event_id: {{ne: {UUID}}}}}"), 1),
        (format!("filters: {{event_id: {{not_in: [{upper}]}}}}"), 1),
        (format!("filters: {{event_id: {{gt: {}}}}}", OTHER.to_uppercase()), 1),
        ("filters: {event_id: {is_null: true}}".to_owned(), 1),
        (format!("where: \"event_id = '{upper}' OR event_id IS NULL\""), 2),
        (format!("where: \"event_id BETWEEN '{OTHER}' AND '{upper}'\""), 2),
        (format!("where: \"event_id IN ('{upper}')\""), 1),
    ] {
        let found = uuid_project(&format!("format: csv\n{condition}")).complete().rows();
        assert_eq!(found.len(), rows, "{condition}");
    }
    uuid_project("format: csv\nfilters: {event_id: nobody}").run(&[]).exits(2).says(&[
        "`event_id` is uuid and cannot be compared with the text 'nobody'",
        "compare it with a UUID in quotes, such as '3c90c3cc-0d44-4b50-8888-8dd25736052a'",
    ]);
    uuid_project("format: csv\nfilters: {event_id: {starts_with: 3c90}}").run(&[]).exits(2).says(&["uuid"]);
}

#[test]
fn a_redacted_uuid_is_text_and_rows_digests_agree_between_formats() {
    let masked = uuid_project("format: parquet\nredact: {event_id: mask}").complete();
    assert_eq!(masked.rows()[0]["event_id"], "***");
    let digests = ["csv", "ndjson", "parquet"].map(|format| {
        let columns = "columns: [occurred_at, event_id, s, l]";
        let project = uuid_project(&format!("format: {format}\nrows_digest: true\n{columns}"));
        project.run(&[]).exits(0);
        project.call(&["verify", "package", "--rows"]).exits(0);
        project.package().manifest()["files"][0]["rows_digest"].clone()
    });
    assert!(digests[0].is_string() && digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    let project = uuid_project("format: parquet");
    project.run(&[]).exits(0);
    let sample = project.call(&["sample", "package", "--rows", "3", "--seed", "1", "--json"]).exits(0);
    assert!(sample.stdout.contains(UUID), "{}", sample.stdout);
}

#[test]
fn a_table_of_a_lakehouse_is_refused_on_disk_and_in_a_store() {
    let why = ["is a Delta table (it has _delta_log): read as plain files it gives deleted and duplicate rows"];
    let spec = |uri: &str, rest: &str| format!("type: events\nsource: {{uri: '{uri}'{rest}}}\n{WINDOW}\nformat: csv");
    let project = Project::with_spec(&spec("tbl/", ""));
    project.write("tbl/_delta_log/00000000000000000000.json", "{}");
    project.write("tbl/day=1/a.parquet", written(&events()));
    for command in ["doctor", "plan", "run"] {
        project.call(&[command, "spec.yaml", "--now", NOW]).exits(2).says(&why);
    }
    project.spec(&spec("tbl/day=1/*.parquet", ""));
    project.run(&[]).exits(2).says(&why);
    project.spec(&spec("tbl/", ", plain_files: true"));
    assert_eq!(project.complete().rows().len(), 3);
    // A permission that is not needed does no harm.
    let project = Project::with_spec(&spec("plain/", ", plain_files: true"));
    project.write("plain/a.parquet", written(&events()));
    project.complete();

    let paimon =
        ["is a Paimon table (it has schema/schema-*): read as plain files it gives deleted and duplicate rows"];
    let project = Project::with_spec(&spec("tbl/", ""));
    for name in ["schema/schema-0", "snapshot/snapshot-1", "manifest/manifest-1"] {
        project.write(&format!("tbl/{name}"), "{}");
    }
    project.write("tbl/bucket-0/data-1.csv", "occurred_at,id\n2026-03-05T10:00:00Z,a\n");
    for uri in ["tbl/", "tbl/bucket-0/", "tbl/*/*.csv"] {
        project.spec(&spec(uri, ""));
        for command in ["doctor", "plan", "run"] {
            project.call(&[command, "spec.yaml", "--now", NOW]).exits(2).says(&paimon);
        }
    }
    project.spec(&spec("tbl/", ", plain_files: true"));
    let package = project.complete();
    assert_eq!(package.rows().len(), 1);
    let skipped = |manifest: &serde_json::Value| {
        let files = manifest["source"]["files"].as_array().unwrap().iter().filter(|file| file["skipped"].is_string());
        files.map(|file| format!("{}: {}", file["path"], file["skipped"])).collect::<Vec<_>>()
    };
    let metadata = ["manifest/manifest-1", "schema/schema-0", "snapshot/snapshot-1"];
    let expected = metadata.map(|name| format!("\"{name}\": \"metadata of a Paimon table, not data\""));
    assert_eq!(skipped(&package.manifest()), expected);

    let project = Project::with_spec(&spec("lake/", ", plain_files: true"));
    project.write("lake/ice/metadata/v1.metadata.json", "{}");
    project.write("lake/ice/metadata/part", "{}");
    project.write("lake/ice/data/a.parquet", written(&events()));
    let package = project.complete();
    assert_eq!(package.rows().len(), 3);
    let expected = ["part", "v1.metadata.json"]
        .map(|name| format!("\"ice/metadata/{name}\": \"metadata of an Iceberg table, not data\""));
    assert_eq!(skipped(&package.manifest()), expected);

    let server = S3Server::start();
    server.put("paimon/tbl/schema/schema-0", b"{}");
    server.put("paimon/tbl/bucket-0/a.parquet", &written(&events()));
    server.put("paimon/tbl/bucket-1/a.csv", b"occurred_at,id\n2026-03-05T10:00:00Z,a\n");
    for entry in ["paimon/", "paimon/tbl/bucket-0/", "paimon/tbl/bucket-1/a.csv", "paimon/tbl/*/*.parquet"] {
        let project = Project::with_spec(&spec(&format!("s3://bucket/{entry}"), ""));
        let refused = call(&project, &server, &["plan", "spec.yaml", "--now", NOW]).exits(2);
        refused.says(&["s3://bucket/paimon/tbl", paimon[0]]);
    }
    server.put("lake/tbl/_delta_log/00000000000000000000.json", b"{}");
    server.put("lake/tbl/day=1/a.parquet", &written(&events()));
    server.put("lake/ok/a.parquet", &written(&events()));
    for (entry, code) in [("lake/", 2), ("lake/tbl/day=1/", 2), ("lake/tbl/day=1/a.parquet", 2), ("lake/ok/", 0)] {
        let project = Project::with_spec(&spec(&format!("s3://bucket/{entry}"), ""));
        let outcome = call(&project, &server, &["plan", "spec.yaml", "--now", NOW]).exits(code);
        if code != 0 {
            outcome.says(&["s3://bucket/lake/tbl", why[0]]);
        }
    }
}

#[test]
fn a_cell_too_large_for_the_memory_is_refused_with_the_memory_that_it_needs() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a".to_owned(), "b".repeat(14 << 20), "c".to_owned()]));
    let batch = RecordBatch::try_from_iter(vec![("occurred_at", times(3)), ("text", text)]).unwrap();
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\nformat: ndjson"));
    project.write("x.parquet", written(&batch));
    let advice = "x.parquet:2: column text has a value of 14.0 MiB, too much for 96.0 MiB of memory; give `--memory \
                  104.0MiB` or more, or leave the column out with `columns`";
    project.run(&["--memory", "96MiB"]).exits(4).says(&[advice]);
    project.run(&["--memory", "104.0MiB"]).exits(0);
    assert_eq!(project.package().rows().len(), 3);
}
