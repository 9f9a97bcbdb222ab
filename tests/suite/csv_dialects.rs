//! CSV files as programs write them: `source.csv`.

use serde_json::json;

use crate::project::Project;

const DAY: &str = "window: {date: 2026-03-05}";

fn spec(dialect: &str) -> String {
    format!("type: events\nsource: {{uri: data/, format: csv, csv: {dialect}}}\n{DAY}\ntime: {{column: t}}")
}

#[test]
fn rows_of_a_dialect_are_exported_as_they_are() {
    let rows = json!([
        {"t": "2026-03-05T10:00:00Z", "id": 1, "msg": "a;b"},
        {"t": "2026-03-05T11:00:00Z", "id": 2, "msg": null},
        {"t": "2026-03-05T12:00:00Z", "id": 3, "msg": "x\"\ny"},
    ]);
    let text = |lines: [&str; 4]| format!("{}\n", lines.join("\n")).into_bytes();
    let (t1, t2, t3) = ("2026-03-05T10:00:00Z", "2026-03-05T11:00:00Z", "2026-03-05T12:00:00Z");
    let cases = [
        (
            "{delimiter: \";\"}",
            text(["t;id;msg", &format!("{t1};1;\"a;b\""), &format!("{t2};2;"), &format!("{t3};3;\"x\"\"\ny\"")]),
        ),
        (
            "{delimiter: \"|\", quote: \"'\", null_text: \"-\", comment: \"#\"}",
            text([
                "# it's | '\nt|id|msg",
                &format!("{t1}|1|a;b"),
                &format!("#\n{t2}|2|-"),
                &format!("{t3}|3|'x\"\ny'"),
            ]),
        ),
        (
            "{delimiter: \"\\t\", quote: none, escape: \"\\\\\", null_text: [\"\\\\N\"], header: {line_prefix: \"#fields\"}}",
            text([
                "#fields\tt\tid\tmsg",
                &format!("{t1}\t1\ta;b"),
                &format!("{t2}\t2\t\\N"),
                &format!("{t3}\t3\tx\"\\\ny"),
            ]),
        ),
        (
            "{delimiter: blanks, header: [t, id, msg], short_rows: null, skip_lines: 1}",
            text(["any \" text", &format!("{t1}  1 \t a;b"), &format!(" {t2} 2"), &format!("{t3} 3  \"x\"\"\ny\" ")]),
        ),
        (
            "{encoding: utf-16le, last_line: any}",
            format!("t,id,msg\r\n{t1},1,a;b\r\n{t2},2,\r\n{t3},3,\"x\"\"\ny\"")
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ),
    ];
    for (dialect, bytes) in cases {
        let project = Project::with_spec(&format!("{}\nformat: ndjson", spec(dialect)));
        project.write("data/x.log", &bytes);
        assert_eq!(json!(project.complete().rows()), rows, "{dialect}");
    }
}

/// A dialect belongs to the job, as far as it differs from the standard.
#[test]
fn the_manifest_says_how_the_files_were_read() {
    let project = Project::with_spec(
        &spec("{delimiter: blanks, header: false, quote: none, short_rows: null, headers: strict, encoding: latin1}")
            .replace("column: t", "column: c1"),
    );
    project.write("data/x.csv", "2026-03-05T10:00:00Z a\n");
    let manifest = project.complete().manifest();
    assert_eq!(
        manifest["spec"]["resolved"]["source"]["csv"],
        json!({"delimiter": "blanks", "header": false, "quote": "none", "short_rows": "null", "encoding": "windows-1252"})
    );
    let ids = ["", ", csv: {}", ", csv: {quote: '\"', last_line: complete}"].map(|csv| {
        let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.csv{csv}}}\n{DAY}"));
        project.write("x.csv", "occurred_at\n2026-03-05T10:00:00Z\n");
        project.complete().manifest()["id"].clone()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_file_of_another_dialect_is_refused_with_the_key_to_set() {
    for (text, message) in [
        (
            "\u{feff}t;id\r\n2026-03-05T10:00:00Z;1\r\n",
            "x.csv:1: the header is one name with semicolons in it; set `source.csv.delimiter: \";\"` if they separate columns",
        ),
        (
            ",t\n0,2026-03-05T10:00:00Z\n",
            "x.csv:1: column 1 has no name in the header; name it, or set `source.csv.headers: number`",
        ),
        (
            "t,id,id\n2026-03-05T10:00:00Z,1,2\n",
            "x.csv:1: the header names the column `id` twice; rename one of them, or set `source.csv.headers: number`",
        ),
        ("sep=,\nt,id\n", "x.csv:1: the first line is a hint for spreadsheets; set `source.csv.skip_lines: 1`"),
        (
            "t,id\n2026-03-05T10:00:00Z,1",
            "x.csv:2: the file ends without a line end, so its last cell may be truncated; if it is complete, append a line \
             end, or set `source.csv.last_line: any`",
        ),
    ] {
        let project = Project::with_spec(&spec("{}"));
        project.write("data/x.csv", text);
        let outcome = project.run(&[]);
        assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
        assert_ne!(outcome.code, Some(0));
    }
}

#[test]
fn a_wrong_dialect_is_told_where_it_stands() {
    for (dialect, message, help) in [
        ("{delimiter: auto}", "`delimiter` cannot be `auto`", "write the character: a delimiter is never guessed"),
        ("{delimiter: '\\t'}", "`delimiter` cannot be `\\t`", "write \"\\t\" in double quotes for a tab"),
        ("{delimiter: tab}", "`delimiter` cannot be `tab`", "write \"\\t\" in double quotes for a tab"),
        (
            "{delimiter: space}",
            "`delimiter` cannot be `space`",
            "write `blanks` for runs of spaces and tabs, \" \" for one space",
        ),
        ("{delimiter: comma}", "`delimiter` cannot be `comma`", "write \",\""),
        ("{delimiter: semicolon}", "`delimiter` cannot be `semicolon`", "write \";\""),
        ("{delimiter: pipe}", "`delimiter` cannot be `pipe`", "write \"|\""),
        (
            "{delimiter: ab}",
            "`delimiter` cannot be `ab`",
            "write one character such as \",\", \";\", \"|\" or \"\\t\", or `blanks` for runs of spaces and tabs",
        ),
        ("{quote: ab}", "`quote` cannot be `ab`", "write one ASCII character such as '\"' or \"'\", or `none`"),
        (
            "{escape: ab}",
            "`escape` cannot be `ab`",
            "write one ASCII character such as \"\\\\\", or remove it: by default, quotes are doubled",
        ),
        (
            "{delimiter: '\"'}",
            "`quote` and `delimiter` cannot both be `\"`",
            "set `quote: none` if cells are not quoted",
        ),
        ("{escape: \",\"}", "`escape` and `delimiter` cannot be the same character", "change one of them"),
        (
            "{escape: '\"'}",
            "`escape` and `quote` are the same character",
            "remove `escape`: by default, quotes are doubled",
        ),
        (
            "{header: no}",
            "`header` must be true, false, a list of names or a mapping, found the text `no`",
            "write `true`",
        ),
        (
            "{header: []}",
            "`header` names no column",
            "write the names of all columns, or `false`: columns are c1, c2, …",
        ),
        ("{header: [a, a]}", "`header` names the column `a` twice", "rename one of them"),
        ("{header: {prefix: a}}", "unknown key `prefix` in `header`", "known keys: line_prefix"),
        ("{header: {}}", "missing key `line_prefix` in `header`", "add `line_prefix: \"#Fields:\"`"),
        ("{header: false, headers: number}", "`headers` has no effect: files have no header", "remove it"),
        ("{comment: \"a\\nb\"}", "`comment` must be on one line and have at most 64 bytes", ""),
        ("{skip_lines: -1}", "`skip_lines` must be from 0 to 1000000, found -1", ""),
        ("{null_text: \"\"}", "an empty cell is null without this", "remove the empty text"),
        ("{encoding: utf-17}", "unknown encoding `utf-17`", "did you mean `utf-8`?"),
        (
            "{encoding: hz-gb-2312}",
            "unknown encoding `hz-gb-2312`",
            "write a label of the WHATWG Encoding Standard such as utf-8, utf-16le, windows-1252 or shift_jis",
        ),
        ("{short_rows: pad}", "`short_rows` cannot be `pad`", "allowed: fail, null"),
        ("{headers: numbr}", "`headers` cannot be `numbr`", "did you mean `number`?"),
        ("{last_line: all}", "`last_line` cannot be `all`", "allowed: complete, any"),
        ("{delimeter: \";\"}", "unknown key `delimeter` in `csv`", "did you mean `delimiter`?"),
    ] {
        let project = Project::with_spec(&spec(dialect));
        let outcome = project.call(&["validate", "spec.yaml"]).exits(2).says(&[message]);
        assert!(outcome.stderr.contains(help), "{dialect}: {}", outcome.stderr);
    }
}

#[test]
fn a_dialect_without_csv_files_is_a_mistake() {
    let ndjson = spec("{delimiter: \";\"}").replace("format: csv", "format: ndjson");
    let project = Project::with_spec(&ndjson);
    project
        .call(&["validate", "spec.yaml"])
        .exits(2)
        .says(&["`csv` has no effect: the files are read as NDJSON", "remove it, or set `format: csv`"]);
    let project = Project::with_spec(&ndjson.replace(", format: ndjson", ""));
    project.write("data/x.ndjson", "{\"t\":\"2026-03-05T10:00:00Z\"}\n");
    project.run(&[]).exits(2).says(&[
        "`csv` has no effect: no file of the source is read as CSV",
        "remove `csv`, or set `source.format: csv`",
    ]);
}

#[test]
fn lines_are_cut_by_a_pattern_and_the_rest_is_rejected() {
    let spec = "type: access\nsource: {uri: data/, format: lines, lines: {pattern: '^(?<ip>\\S+) \\[(?<at>[^\\]]+)\\] (?:-|(?<bytes>\\d+))$'}}\n\
                time: {column: at, format: \"%d/%b/%Y:%H:%M:%S %z\"}\nwindow: {date: 2026-03-05}\nformat: ndjson\non_bad_rows: reject";
    let project = Project::with_spec(spec);
    let lines = "::1 [05/Mar/2026:10:00:00 +0000] 12\r\n\r\n::1 [05/Mar/2026:23:30:00 -0100] -\n::2 [05/Mar/2026:12:00:00 +0000] -\nno\n";
    project.write("data/access.log", lines);
    project.run(&[]).exits(3);
    let package = project.package();
    let rows = json!([
        {"ip": "::1", "at": "05/Mar/2026:10:00:00 +0000", "bytes": 12},
        {"ip": "::2", "at": "05/Mar/2026:12:00:00 +0000", "bytes": null},
    ]);
    assert_eq!(json!(package.rows()), rows);
    let rejects = std::fs::read_dir(project.path("package/rejects")).unwrap().count();
    assert_eq!(rejects, 1);
    let resolved = &package.manifest()["spec"]["resolved"]["source"];
    assert_eq!(resolved["format"], "lines");
    assert_eq!(resolved["lines"], json!({"pattern": "^(?<ip>\\S+) \\[(?<at>[^\\]]+)\\] (?:-|(?<bytes>\\d+))$"}));

    project.spec(&spec.replace("\non_bad_rows: reject", ""));
    std::fs::remove_dir_all(project.path("package")).unwrap();
    project.run(&[]).exits(4).says(&[
        "access.log:5: the line does not match `source.lines.pattern`; fix the row, or set `on_bad_rows: reject`",
    ]);
}

#[test]
fn a_wrong_pattern_is_told_where_it_stands() {
    for (source, message, help) in [
        (
            "format: lines",
            "`format: lines` needs `lines`",
            "add `lines: {pattern: '^(?<time>\\S+) (?<message>.*)$'}`: named groups are columns",
        ),
        (
            "format: csv, lines: {pattern: '(?<t>a)'}",
            "`lines` has no effect without `format: lines`",
            "set `format: lines`",
        ),
        ("lines: {pattern: '(?<t>a)'}", "`lines` has no effect without `format: lines`", "set `format: lines`"),
        ("format: lines, lines: {}", "missing key `pattern` in `lines`", "add `pattern: '^"),
        (
            "format: lines, lines: {pattern: '(?<t>a'}",
            "`pattern` is not a regular expression with named groups",
            "help: unclosed group",
        ),
        (
            "format: lines, lines: {pattern: '(a)'}",
            "`pattern` is not a regular expression with named groups",
            "it has no named group: write `(?<name>…)` around what is to be a column",
        ),
        (
            "format: lines, lines: {pattern: '(?<t>a)', unmatched: skip}",
            "`unmatched` cannot be `skip`",
            "allowed: fail",
        ),
    ] {
        let project = Project::with_spec(&format!("type: events\nsource: {{uri: data/, {source}}}\n{DAY}"));
        let outcome = project.call(&["validate", "spec.yaml"]).exits(2).says(&[message]);
        assert!(outcome.stderr.contains(help), "{source}: {}", outcome.stderr);
    }
}
