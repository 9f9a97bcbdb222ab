//! `validate`: checks specs and catalogs without reading data.

use super::args::{ValidateArgs, ValidateFormat};
use super::environment::environment_or_complain;
use super::{Console, print, repeated, specs};
use crate::diagnostic::{records, render_github, render_text};
use crate::error::Exit;
use crate::resolve::check_file;
use crate::units::counted;

/// Validates every file and reports all errors of all files.
pub(super) fn validate(args: &ValidateArgs, console: &Console) -> Exit {
    let Some(environment) = environment_or_complain(&args.spec, console) else { return Exit::Usage };
    let found = match specs::expand(&args.specs) {
        Ok(found) => found,
        Err(why) => {
            console.error(&format!("error: {why}"));
            return Exit::Usage;
        }
    };
    let mut diagnostics = Vec::new();
    for file in &found {
        diagnostics.extend(check_file(&file.path, &environment));
    }
    let format = if console.json { ValidateFormat::Json } else { args.format };
    let valid = diagnostics.is_empty();
    match format {
        ValidateFormat::Text if valid => {
            console.info(&format!("{} valid", counted(found.len(), "file")));
        }
        ValidateFormat::Text => {
            console.show(&render_text(&diagnostics, console.color));
            console.error(&format!(
                "error: {} in {}",
                counted(diagnostics.len(), "mistake"),
                counted(found.len(), "file")
            ));
        }
        ValidateFormat::Github => {
            print(&render_github(&diagnostics));
        }
        ValidateFormat::Json => {
            let files: Vec<_> = found.iter().map(|f| repeated(&f.path)).collect();
            console.print_json(&serde_json::json!({
                "version": 1, "valid": valid, "files": files, "diagnostics": records(&diagnostics),
            }));
        }
    }
    if valid { Exit::Complete } else { Exit::Usage }
}
