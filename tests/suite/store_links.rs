//! Presigned links end no later than the credentials that sign them, wherever those come from.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::project::{Outcome, Project, daily_files, outcome};
use crate::s3_server::S3Server;

const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// A job in the store, and its id.
fn job(server: &S3Server) -> (Project, String) {
    let project = Project::new();
    for (name, text) in daily_files(1, 20) {
        project.write(&name, text);
    }
    project.write("catalog.yaml", "version: 1\ntypes:\n  events: {source: {uri: data/}}\n");
    let create = [
        "jobs",
        "create",
        "--store",
        "s3://bucket/store",
        "--type",
        "events",
        "--date-from",
        "2026-03-01",
        "--date-to",
        "2026-03-01",
        "--wait",
    ];
    let created = outcome(project.command(&create).envs(server.environment())).exits(0);
    (project, created.stdout.trim_end().to_owned())
}

/// Links for a week, signed with what the variables lead to.
fn links(project: &Project, server: &S3Server, id: &str, variables: &[(&str, String)]) -> Outcome {
    let args = ["jobs", "download", "--store", "s3://bucket/store", "--id", id, "--url", "--expires", "7d", "--json"];
    let mut command = project.command(&args);
    let here = server.environment().into_iter().filter(|(name, _)| !KEYS.contains(name));
    for name in KEYS {
        command.env_remove(name);
    }
    command
        .envs(here)
        .env("AWS_CONFIG_FILE", project.path("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", project.path("none"));
    outcome(command.envs(variables.iter().map(|(name, value)| (*name, value.as_str()))))
}

/// For how many seconds they are signed.
#[track_caller]
fn seconds(links: &Outcome) -> u64 {
    let json: serde_json::Value = serde_json::from_str(&links.stdout).unwrap_or_else(|_| panic!("{links:?}"));
    let url = json["links"][0]["url"].as_str().unwrap().to_owned();
    let (_, rest) = url.split_once("X-Amz-Expires=").unwrap();
    rest.split('&').next().unwrap().parse().unwrap()
}

const WEEK: u64 = 7 * 24 * 3600;

#[test]
fn a_link_ends_with_the_temporary_credentials_of_variables_or_a_profile() {
    let server = S3Server::start();
    let (project, id) = job(&server);
    let keys = |token: &str| {
        let mut keys: Vec<(&str, String)> = S3Server::credentials();
        if !token.is_empty() {
            keys.push(("AWS_SESSION_TOKEN", token.to_owned()));
        }
        keys
    };
    let lasting = links(&project, &server, &id, &keys("")).exits(0);
    assert_eq!(seconds(&lasting), WEEK);
    let unknown = links(&project, &server, &id, &keys("token")).exits(0);
    unknown.says(&["the links expire sooner than requested", "temporary and do not say when they end"]);
    assert_eq!(seconds(&links(&project, &server, &id, &keys("token"))), 3600);
    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(30)).to_string();
    let known = [keys("token"), vec![("AWS_CREDENTIAL_EXPIRATION", end)]].concat();
    let known = links(&project, &server, &id, &known).exits(0);
    assert!((1..=1800).contains(&seconds(&known)));
    known.says(&["the credentials end then"]);
    let ended = [keys("token"), vec![("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z".to_owned())]].concat();
    links(&project, &server, &id, &ended).exits(4).says(&["they ended at 2026-01-01T00:00:00Z: get new ones"]);

    let section = |token: &str| {
        format!("[audit]\naws_access_key_id=TESTACCESSKEY\naws_secret_access_key=test-secret-key\n{token}\n")
    };
    for (token, expected) in [("", WEEK), ("aws_session_token=t", 3600)] {
        project.write("credentials", section(token));
        let file = project.path("credentials").display().to_string();
        let variables = [("AWS_SHARED_CREDENTIALS_FILE", file), ("AWS_PROFILE", "audit".to_owned())];
        assert_eq!(seconds(&links(&project, &server, &id, &variables).exits(0)), expected, "{token}");
    }
}

/// An agent that gives containers their credentials, for 20 minutes.
#[test]
fn a_link_ends_with_the_credentials_of_a_container() {
    let server = S3Server::start();
    let (project, id) = job(&server);
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = agent.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = agent.accept() {
            let _ = connection.read(&mut [0; 4096]);
            let end = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(20);
            let body = format!(
                r#"{{"AccessKeyId":"TESTACCESSKEY","SecretAccessKey":"test-secret-key","Token":"t","Expiration":"{end}"}}"#
            );
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            let _ = write!(connection, "{head} {}\r\n\r\n{body}", body.len());
        }
    });
    project.write("token", "token");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{address}/credentials")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", project.path("token").display().to_string()),
    ];
    let links = links(&project, &server, &id, &variables).exits(0);
    assert!((1..=1200).contains(&seconds(&links)), "{links:?}");
    links.says(&["the links expire sooner than requested: the credentials end then"]);
}
