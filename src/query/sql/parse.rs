//! Parses the text of a `where` into sqlparser's tree, within limits.

use sqlparser::ast::Expr;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::locator::Locator;
use crate::diagnostic::Diagnostic;

/// Longest `where`. A condition that can be reviewed is far shorter; long lists belong in `filters`.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;
/// Most words, operators and brackets in a `where`, not counting commas and constants. Each may deepen the tree, which the
/// parser builds without recursion but drops recursively.
pub(super) const MAX_TOKENS: usize = 2_000;
/// Deepest nesting of a `where`; chains of AND and of OR count once.
pub(super) const MAX_DEPTH: usize = 64;

/// Parses the whole text as one expression.
///
/// # Errors
/// The first mistake in its syntax, or the limit that it breaks.
pub(super) fn parse(text: &str, locator: &Locator<'_>) -> Result<Expr, Diagnostic> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("`where` has {} bytes, more than the {MAX_TEXT_BYTES} allowed", text.len());
        return Err(locator.whole(message).help("move long lists of values into `filters`"));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|e| locator.at_location(e.location, syntax(&e.message)).help(QUOTES))?;
    let free = |t: &Token| {
        matches!(t, Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::EOF)
    };
    let counted = tokens.iter().filter(|t| !free(&t.token)).count();
    if counted > MAX_TOKENS {
        let message = format!("`where` has {counted} words and operators, more than the {MAX_TOKENS} allowed");
        return Err(locator.whole(message).help("move lists of values into `filters` or IN (…)"));
    }
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(|e| locator.parser_error(&e, MAX_DEPTH, QUOTES))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(expression),
        token => Err(locator
            .at_location(rest.span.start, syntax(&format!("`{token}` does not continue it")))
            .help("`where` is one condition, without WHERE and `;`")),
    }
}

const QUOTES: &str = "write text in single quotes, and a column whose name is a SQL keyword in double quotes";

/// The message of a syntax error.
pub(super) fn syntax(what: &str) -> String {
    format!("`where` is not a SQL condition: {what}")
}
