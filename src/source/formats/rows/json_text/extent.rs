//! Where a value ends, by brackets and quotes alone.

use crate::swar::{find, marks};

/// Marks quotes, braces and brackets. One bit distinguishes braces from brackets, so one mask finds both.
fn brackets_and_quotes(word: u64) -> u64 {
    let either = word | 0x2020_2020_2020_2020;
    marks(word, b'"') | marks(either, b'{') | marks(either, b'}')
}

/// Looks for the end of a value in text that may still grow. Whether the value is JSON is for the parser to decide.
#[derive(Debug, Default)]
pub(in crate::source) struct Extent {
    at: usize,
    depth: usize,
    in_string: bool,
}

impl Extent {
    /// The length of the value at the start of `data`; `None` if `data` does not hold its end. Each call passes the same bytes
    /// and more.
    #[inline]
    pub(in crate::source) fn len(&mut self, data: &[u8]) -> Option<usize> {
        let (mut at, mut depth, mut in_string) = (self.at, self.depth, self.in_string);
        while let Some(&byte) = data.get(at) {
            if in_string {
                let marked = |w| marks(w, b'"') | marks(w, b'\\');
                at = find(data, at, marked, |b| matches!(b, b'"' | b'\\'));
                match data.get(at) {
                    // The escaped byte is not there yet: look at the backslash again.
                    Some(b'\\') if at + 1 >= data.len() => break,
                    Some(b'\\') => at += 2,
                    Some(_) => {
                        at += 1;
                        in_string = false;
                    }
                    None => {}
                }
                if in_string {
                    continue;
                }
            } else {
                match byte {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth > 0 => depth -= 1,
                    _ if depth > 0 => {
                        at = find(data, at, brackets_and_quotes, |b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'));
                        continue;
                    }
                    b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => return Some(at.max(1)),
                    // Literals and numbers end at the next delimiter.
                    _ => {
                        at += 1;
                        continue;
                    }
                }
                at += 1;
            }
            if depth == 0 && !in_string {
                return Some(at);
            }
        }
        (self.at, self.depth, self.in_string) = (at, depth, in_string);
        None
    }

    /// Whether the value may end where the data ends.
    pub(in crate::source) fn may_end(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}
