//! Patterns of common logs, for `lines`.

use regex::Regex;

/// A kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownLog {
    /// For messages.
    pub name: &'static str,
    /// Matches whole lines; named groups are columns. A dash is null where the format says so.
    pub pattern: &'static str,
    /// What is to be told about its times.
    pub note: Option<&'static str>,
}

/// The inside of double quotes, with escapes.
macro_rules! quoted {
    ($name:literal) => {
        concat!(r#""(?:-|(?<"#, $name, r#">[^"\\]*(?:\\.[^"\\]*)*))""#)
    };
}

/// Text without blanks; a dash is null.
macro_rules! word {
    ($name:literal) => {
        concat!("(?:-|(?<", $name, r">\S+))")
    };
}

/// A field that older files lack.
macro_rules! later {
    ($name:literal) => {
        concat!("(?: (?:-|(?<", $name, r">\S+)))?")
    };
}

/// A field in quotes that older files lack.
macro_rules! later_quoted {
    ($name:literal) => {
        concat!("(?: ", quoted!($name), ")?")
    };
}

macro_rules! common {
    () => {
        concat!(
            r"^(?<host>\S+) ",
            word!("ident"),
            r" (?:-|(?<user>\S.*?)) \[(?<time>[^\]]+)\] ",
            quoted!("request"),
            r" (?<status>\d{3}) (?:-|(?<bytes>\d+))"
        )
    };
}

/// The text behind host and tag of syslog.
macro_rules! tagged {
    () => {
        r" (?<host>\S+) (?<tag>[^\s:\[]+)(?:\[(?<pid>[^\]]*)\])?: ?(?<message>.*)$"
    };
}

/// The logs, those first that say more.
pub(super) const KNOWN_LOGS: [KnownLog; 8] = [
    KnownLog {
        name: "the combined format of web servers",
        pattern: concat!(common!(), " ", quoted!("referer"), " ", quoted!("user_agent"), "$"),
        note: None,
    },
    KnownLog { name: "the common format of web servers", pattern: concat!(common!(), "$"), note: None },
    KnownLog {
        name: "syslog of RFC 5424",
        pattern: concat!(
            r"^<(?<priority>\d{1,3})>(?<version>\d{1,2}) ",
            word!("time"),
            " ",
            word!("host"),
            " ",
            word!("app"),
            " ",
            word!("procid"),
            " ",
            word!("msgid"),
            r#" (?:-|(?<structured_data>(?:\[[^\s\]]+(?: [^\s=]+="[^"\\]*(?:\\.[^"\\]*)*")*\])+))(?: (?<message>.*))?$"#
        ),
        note: None,
    },
    KnownLog {
        name: "syslog of RFC 3164",
        pattern: concat!(r"^(?:<(?<priority>\d{1,3})>)?(?<time>[A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2})", tagged!()),
        note: Some("its times have no year, so they cannot be read: write RFC 3339 times in the logger's settings"),
    },
    KnownLog {
        name: "syslog with RFC 3339 times",
        pattern: concat!(
            r"^(?:<(?<priority>\d{1,3})>)?(?<time>\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:?\d{2}))",
            tagged!()
        ),
        note: None,
    },
    KnownLog {
        name: "an access log of an Application Load Balancer",
        pattern: concat!(
            r"^(?<type>https?|h2|grpcs|wss?) (?<time>\d{4}-\d{2}-\d{2}T\S+) (?<elb>\S+) (?<client>\S+) ",
            word!("target"),
            r" (?<request_processing_time>-?[\d.]+) (?<target_processing_time>-?[\d.]+) ",
            r"(?<response_processing_time>-?[\d.]+) ",
            word!("elb_status_code"),
            " ",
            word!("target_status_code"),
            r" (?<received_bytes>\d+) (?<sent_bytes>\d+) ",
            quoted!("request"),
            " ",
            quoted!("user_agent"),
            " ",
            word!("ssl_cipher"),
            " ",
            word!("ssl_protocol"),
            " ",
            word!("target_group_arn"),
            " ",
            quoted!("trace_id"),
            later_quoted!("domain_name"),
            later_quoted!("chosen_cert_arn"),
            later!("matched_rule_priority"),
            later!("request_creation_time"),
            later_quoted!("actions_executed"),
            later_quoted!("redirect_url"),
            later_quoted!("error_reason"),
            later_quoted!("target_list"),
            later_quoted!("target_status_code_list"),
            later_quoted!("classification"),
            later_quoted!("classification_reason"),
            later!("conn_trace_id"),
            later_quoted!("transformed_host"),
            later_quoted!("transformed_uri"),
            later_quoted!("request_transform_status"),
            "$"
        ),
        note: None,
    },
    KnownLog {
        name: "an access log of S3",
        pattern: concat!(
            r"^(?<bucket_owner>\S+) (?<bucket>\S+) \[(?<time>[^\]]+)\] ",
            word!("remote_ip"),
            " ",
            word!("requester"),
            r" (?<request_id>\S+) (?<operation>[A-Z]+[.\w]*) ",
            word!("key"),
            " (?:-|",
            quoted!("request_uri"),
            ") ",
            word!("http_status"),
            " ",
            word!("error_code"),
            " ",
            word!("bytes_sent"),
            " ",
            word!("object_size"),
            " ",
            word!("total_time"),
            " ",
            word!("turn_around_time"),
            " (?:-|",
            quoted!("referer"),
            ") (?:-|",
            quoted!("user_agent"),
            ")",
            later!("version_id"),
            later!("host_id"),
            later!("signature_version"),
            later!("cipher_suite"),
            later!("authentication_type"),
            later!("host_header"),
            later!("tls_version"),
            later!("access_point_arn"),
            later!("acl_required"),
            later!("source_region"),
            // S3 adds fields at the end.
            "(?: (?<more>.*))?$"
        ),
        note: None,
    },
    KnownLog {
        name: "lines that begin with a time",
        pattern: r"^(?<time>\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?)\s+(?<message>.*)$",
        note: Some("what is behind the time is one column: write groups into the pattern for what it holds"),
    },
];

/// The first known log that all lines match.
pub(super) fn matching<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Option<KnownLog> {
    lines.clone().next()?;
    KNOWN_LOGS
        .into_iter()
        .find(|known| Regex::new(known.pattern).is_ok_and(|regex| lines.clone().all(|line| regex.is_match(line))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: &str =
        r#"127.0.0.1 - frank [05/Mar/2026:10:00:00 +0000] "GET /a\"b HTTP/1.1" 200 2326 "-" "curl/8""#;
    const COMMON: &str = r#"127.0.0.1 - - [05/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 304 -"#;

    fn name(line: &str) -> Option<&'static str> {
        matching(std::iter::once(line)).map(|known| known.name)
    }

    #[test]
    fn a_log_is_known_by_its_lines() {
        for (line, expected) in [
            (COMBINED, "the combined format of web servers"),
            (COMMON, "the common format of web servers"),
            ("<34>1 2026-03-05T10:00:00.003Z host su - ID47 - 'su root' failed", "syslog of RFC 5424"),
            (r#"<165>1 2026-03-05T10:00:00Z h app 7 ID [a@1 iut="3" s="x\"y"][b@1 k="v"] text"#, "syslog of RFC 5424"),
            ("<165>1 - - - - - -", "syslog of RFC 5424"),
            ("<13>Mar  5 10:00:00 host su[12]: failed", "syslog of RFC 3164"),
            ("Mar 15 10:00:00 host kernel: up", "syslog of RFC 3164"),
            ("2026-03-05T10:00:00.123456+01:00 host sshd[12]: failed", "syslog with RFC 3339 times"),
            (
                r#"h2 2026-03-05T10:00:00.186641Z app/my-lb/50dc 10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200 200 5 257 "GET https://e.com:443/ HTTP/2.0" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:tg "Root=1-58337327" "e.com" "arn:cert" 1 2026-03-05T10:00:00.184000Z "redirect" "https://e.com:80/" "-" "10.0.0.66:9000" "200" "-" "-" TID_1234"#,
                "an access log of an Application Load Balancer",
            ),
            (
                r#"79a5 bucket [06/Feb/2026:00:00:38 +0000] 192.0.2.3 79a5 3E57427F3EXAMPLE REST.GET.VERSIONING - "GET /b?versioning HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" - s9lzHYrFp76 SigV4 ECDHE-RSA AuthHeader b.s3.amazonaws.com TLSV1.2 - -"#,
                "an access log of S3",
            ),
            (
                r#"79a5 bucket [06/Feb/2026:00:00:38 +0000] 192.0.2.3 79a5 3E57427F3EXAMPLE REST.PUT.OBJECT a "PUT /b/a HTTP/1.1" 200 - - 4406 28 12 "-" "x (\"y\") z" - 10S62Zv81kBW7 SigV4 ECDHE-RSA AuthHeader b.s3.amazonaws.com TLSV1.3 - Yes us-east-1 new fields"#,
                "an access log of S3",
            ),
            ("2026-03-05 10:00:00,123 INFO a.b: done", "lines that begin with a time"),
        ] {
            assert_eq!(name(line), Some(expected), "{line}");
        }
        for line in ["", "hello", "10:00:00 up", "2026-03-05", "a,b"] {
            assert_eq!(name(line), None, "{line}");
        }
    }

    #[test]
    fn one_line_of_another_kind_is_enough_to_know_nothing() {
        assert!(matching([COMBINED, COMBINED].into_iter()).is_some());
        assert_eq!(matching([COMBINED, COMMON].into_iter()), None);
        assert_eq!(matching(std::iter::empty()), None);
    }

    #[test]
    fn every_pattern_has_columns() {
        for known in KNOWN_LOGS {
            assert!(crate::job::LinePattern::new(known.pattern).is_ok(), "{}", known.name);
        }
    }
}
