//! `validate`: checks specs and catalogs without touching data.

use super::args::{ValidateArgs, ValidateFormat};
use super::environment::environment_or_complain;
use super::{Talk, print, specs};
use crate::diagnostic::{records, render_github, render_text};
use crate::error::Exit;
use crate::resolve::check_file;
use crate::units::counted;

/// Validates every file and tells all mistakes of all files.
pub fn validate(args: &ValidateArgs, talk: &Talk) -> Exit {
    let Some(environment) = environment_or_complain(&args.spec, talk) else { return Exit::Usage };
    let found = match specs::expand(&args.specs) {
        Ok(found) => found,
        Err(why) => {
            talk.complain(&format!("error: {why}"));
            return Exit::Usage;
        }
    };
    let mut diagnostics = Vec::new();
    for file in &found {
        diagnostics.extend(check_file(&file.path, &environment));
    }
    let format = if talk.json { ValidateFormat::Json } else { args.format };
    let valid = diagnostics.is_empty();
    match format {
        ValidateFormat::Text if valid => {
            talk.say(&format!("{} valid", counted(found.len(), "file")));
        }
        ValidateFormat::Text => {
            talk.complain(&render_text(&diagnostics, talk.color));
            talk.complain(&format!(
                "error: {} in {}",
                counted(diagnostics.len(), "mistake"),
                counted(found.len(), "file")
            ));
        }
        ValidateFormat::Github => {
            print(&render_github(&diagnostics));
        }
        ValidateFormat::Json => {
            let files: Vec<_> = found.iter().map(|f| f.path.display().to_string()).collect();
            talk.print_json(&serde_json::json!({
                "version": 1, "valid": valid, "files": files, "diagnostics": records(&diagnostics),
            }));
        }
    }
    if valid { Exit::Complete } else { Exit::Usage }
}
