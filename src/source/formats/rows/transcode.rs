//! Turns text of any encoding of the WHATWG Encoding Standard into UTF-8, in bounded memory.

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// Takes the place of bytes that the encoding does not allow. It is never part of UTF-8, so that the row is a bad row, and
/// no other row suffers.
const NOT_TEXT: u8 = 0xff;

/// Bytes that are decoded at a time.
const STEP_BYTES: usize = 64 << 10;

/// A stream being decoded.
pub(super) struct Transcoder {
    decoder: Decoder,
    /// Bytes not decoded yet.
    input: Vec<u8>,
    /// Text not returned yet, from this offset.
    output: Vec<u8>,
    returned: usize,
    /// No bytes follow `input`.
    is_last: bool,
    /// The decoder has seen the end.
    is_finished: bool,
}

impl Transcoder {
    /// `input` are the first bytes, without their byte order mark.
    pub(super) fn new(encoding: &'static Encoding, input: Vec<u8>) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { decoder, input, output: Vec::new(), returned: 0, is_last: false, is_finished: false }
    }

    /// The encoding that it decodes.
    pub(super) fn encoding(&self) -> &'static Encoding {
        self.decoder.encoding()
    }

    /// Writes at least one byte of UTF-8, unless `into` is empty; 0 at the end. `more` reads more bytes, 0 at the end.
    ///
    /// # Errors
    /// Those of `more`.
    pub(super) fn read<E>(
        &mut self,
        into: &mut [u8],
        mut more: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        while self.returned == self.output.len() && !self.is_finished {
            if self.input.is_empty() && !self.is_last {
                self.input.resize(STEP_BYTES, 0);
                let read = more(&mut self.input);
                self.input.truncate(*read.as_ref().unwrap_or(&0));
                self.is_last = read? == 0;
            }
            self.step();
        }
        let text = self.output.get(self.returned..).unwrap_or_default();
        let len = text.len().min(into.len());
        if let (Some(into), Some(text)) = (into.get_mut(..len), text.get(..len)) {
            into.copy_from_slice(text);
        }
        self.returned += len;
        Ok(len)
    }

    /// Decodes what there is into the empty output.
    fn step(&mut self) {
        self.output.clear();
        self.returned = 0;
        let needed = self.decoder.max_utf8_buffer_length_without_replacement(self.input.len());
        // Of a few bytes that are here, so it does not overflow.
        self.output.resize(needed.unwrap_or(STEP_BYTES * 4) + 1, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.input, &mut self.output, self.is_last);
        self.output.truncate(written);
        self.input.drain(..read);
        match result {
            DecoderResult::Malformed(..) => self.output.push(NOT_TEXT),
            DecoderResult::InputEmpty => self.is_finished = self.is_last,
            DecoderResult::OutputFull => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `bytes`, given `size` at a time, into pieces of `room` bytes.
    fn decoded(encoding: &'static Encoding, bytes: &[u8], first: usize, size: usize, room: usize) -> Vec<u8> {
        let (first, mut rest) = bytes.split_at(first.min(bytes.len()));
        let mut transcoder = Transcoder::new(encoding, first.to_vec());
        let mut text = Vec::new();
        let mut into = vec![0; room];
        loop {
            let more = |into: &mut [u8]| -> Result<usize, std::convert::Infallible> {
                let (now, later) = rest.split_at(size.min(rest.len()).min(into.len()));
                into[..now.len()].copy_from_slice(now);
                rest = later;
                Ok(now.len())
            };
            match transcoder.read(&mut into, more).unwrap() {
                0 => return text,
                n => text.extend(&into[..n]),
            }
        }
    }

    proptest! {
        /// The oracle decodes the whole file at once, and writes U+FFFD where we write a byte that is not UTF-8.
        #[test]
        fn pieces_are_decoded_like_the_whole(
            label in prop::sample::select(vec![
                "utf-8", "utf-16le", "utf-16be", "windows-1252", "shift_jis", "euc-jp", "iso-2022-jp", "gb18030", "big5",
                "euc-kr", "koi8-r",
            ]),
            text in "[a-zäöüß日本語€\u{1f600}\n\",;0-9]{0,40}",
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            first in 0..4usize, size in 1..7usize, room in 1..9usize,
        ) {
            let encoding = Encoding::for_label(label.as_bytes()).unwrap();
            let mut bytes = match label {
                "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => encoding.encode(&text).0.into_owned(),
            };
            for (at, byte) in noise {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            let (whole, _) = encoding.decode_without_bom_handling(&bytes);
            let pieces = decoded(encoding, &bytes, first, size, room);
            // U+FFFD may also be in the file.
            let mut ours = Vec::new();
            for byte in pieces {
                if byte == NOT_TEXT { ours.extend("\u{fffd}".as_bytes()) } else { ours.push(byte) }
            }
            prop_assert_eq!(String::from_utf8(ours).unwrap(), whole);
        }
    }
}
