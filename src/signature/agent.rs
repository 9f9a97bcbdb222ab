//! Asks an ssh-agent to sign.
//!
//! Protocol: draft-miller-ssh-agent, sections 3 and 3.6. Every message is its length in four bytes, big-endian, one byte
//! that says what it is, and its fields; texts have their length before them.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const FAILURE: u8 = 5;

/// Long enough for a person who is asked to confirm.
const TIMEOUT: Duration = Duration::from_secs(60);

/// As OpenSSH's own limit on messages.
const LARGEST_MESSAGE: u32 = 256 << 10;

/// Signing failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    /// No agent is listening.
    #[error("it cannot be reached ({0}); check SSH_AUTH_SOCK")]
    Unreachable(io::Error),
    /// It timed out or closed the connection.
    #[error("{}", if is_timeout(.0) { "it did not answer within 60 s; confirm the use of the key, or restart it".to_owned() } else { format!("it broke off ({}); restart it", .0) })]
    Broken(io::Error),
    /// It refused.
    #[error("it refuses; add the key with `ssh-add`, and see with `ssh-add -L` that it is there and not locked")]
    Refused,
    /// An unexpected reply.
    #[error("its answer is not of the agent protocol; check SSH_AUTH_SOCK")]
    Protocol,
}

/// A read or write that took too long has one of these two kinds, by platform.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Lets the agent sign `data` with the private half of the key in `blob`. Gives the signature as it stands in SSH
/// messages: kind and value.
pub(super) fn sign(socket: &Path, blob: &[u8], data: &[u8]) -> Result<Vec<u8>, AgentError> {
    let mut stream = UnixStream::connect(socket).map_err(AgentError::Unreachable)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(AgentError::Broken)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(AgentError::Broken)?;
    let mut request = vec![SIGN_REQUEST];
    put(&mut request, blob);
    put(&mut request, data);
    // Flags are for RSA.
    request.extend(0u32.to_be_bytes());
    let mut message = Vec::new();
    put(&mut message, &request);
    stream.write_all(&message).map_err(AgentError::Broken)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(AgentError::Broken)?;
    let length = u32::from_be_bytes(length);
    if length == 0 || length > LARGEST_MESSAGE {
        return Err(AgentError::Protocol);
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).map_err(AgentError::Broken)?;
    match answer.split_first() {
        Some((&SIGN_RESPONSE, fields)) => whole_text(fields).ok_or(AgentError::Protocol),
        Some((&FAILURE, _)) => Err(AgentError::Refused),
        _ => Err(AgentError::Protocol),
    }
}

fn put(message: &mut Vec<u8>, text: &[u8]) {
    // Keys and what SSHSIG signs are hundreds of bytes; a longer text would be refused by the agent.
    message.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend(text);
}

/// The only field of a message.
fn whole_text(fields: &[u8]) -> Option<Vec<u8>> {
    let (length, text) = fields.split_first_chunk::<4>()?;
    (u32::from_be_bytes(*length) as usize == text.len()).then(|| text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What the client makes of an agent that reads one request and gives this answer.
    fn ask(answer: Vec<u8>) -> (Result<Vec<u8>, AgentError>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::scope(|scope| {
            let agent = scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4 + 1 + 4 + 3 + 4 + 4 + 4];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(&answer).unwrap();
                request
            });
            let signature = sign(&socket, b"key", b"data");
            (signature, agent.join().unwrap())
        })
    }

    #[test]
    fn a_request_and_its_answer_are_those_of_the_draft() {
        let (signature, request) = ask(b"\0\0\0\x08\x0e\0\0\0\x03sig".to_vec());
        assert_eq!(signature.unwrap(), b"sig");
        assert_eq!(request, b"\0\0\0\x14\x0d\0\0\0\x03key\0\0\0\x04data\0\0\0\0");
    }

    #[test]
    fn an_agent_that_gives_no_signature_is_told_apart() {
        let said = |answer: &[u8]| ask(answer.to_vec()).0.unwrap_err().to_string();
        assert_eq!(
            said(b"\0\0\0\x01\x05"),
            "it refuses; add the key with `ssh-add`, and see with `ssh-add -L` that it is there and not locked"
        );
        let other = "its answer is not of the agent protocol; check SSH_AUTH_SOCK";
        for answer in [&b"\0\0\0\0"[..], b"\xff\xff\xff\xff", b"\0\0\0\x01\x06", b"\0\0\0\x05\x0e\0\0\0\x09"] {
            assert_eq!(said(answer), other);
        }
        assert_eq!(said(b"\0\0"), "it broke off (failed to fill whole buffer); restart it");
        let nobody = sign(Path::new("/nowhere/agent"), b"key", b"data").unwrap_err().to_string();
        assert!(nobody.starts_with("it cannot be reached (No such file"), "{nobody}");
        let slow = AgentError::Broken(ErrorKind::WouldBlock.into());
        assert_eq!(slow.to_string(), "it did not answer within 60 s; confirm the use of the key, or restart it");
    }
}
