//! `explain`: the cause of an error code, what to do, and whether to retry.

use serde::Serialize;

use super::args::ExplainArgs;
use super::{Console, print};
use crate::diagnostic::nearest;
use crate::error::{ErrorCode, Exit};

/// The JSON record of one code.
#[derive(Serialize)]
struct Explained {
    code: ErrorCode,
    advice: &'static str,
}

/// Explains one code, or all.
pub(super) fn explain(args: &ExplainArgs, console: &Console) -> Exit {
    let codes: Vec<ErrorCode> = match &args.code {
        None => ErrorCode::ALL.to_vec(),
        Some(word) => match ErrorCode::ALL.iter().find(|c| c.as_str() == word) {
            Some(code) => vec![*code],
            None => {
                let near = nearest(word, ErrorCode::ALL.iter().map(|c| c.as_str()))
                    .map_or(String::new(), |n| format!(": did you mean `{n}`?"));
                console.error(&format!("error: `{}` is not an error code{near}", word.escape_debug()));
                return Exit::Usage;
            }
        },
    };
    let explained: Vec<_> = codes.iter().map(|c| Explained { code: *c, advice: c.advice() }).collect();
    if console.json {
        return console.print_json(&serde_json::json!({"version": 1, "codes": explained}));
    }
    print(&explained.iter().map(|e| format!("{}\n  {}\n", e.code, e.advice)).collect::<Vec<_>>().join("\n"))
}
