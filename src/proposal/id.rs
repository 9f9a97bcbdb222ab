//! Finds the column that names a row.

use std::collections::HashSet;

use super::probe::ReadColumn;
use crate::encode::CellTexts;

/// Names of ids of a row, without case and punctuation. Those of other things (a user, a session) may be unique in a small
/// sample, and are none.
const NAMES: [&str; 22] = [
    "eventid",
    "eventuuid",
    "id",
    "uuid",
    "guid",
    "uid",
    "entryid",
    "recordid",
    "rowid",
    "logid",
    "messageid",
    "msgid",
    "spanid",
    "requestid",
    "xedgerequestid",
    "insertid",
    "transactionid",
    "escalationid",
    "ticketid",
    "orderid",
    "auditid",
    "objectid",
];

/// The column that is named like the id of a row, if it is not null and unique in what was read.
pub(super) fn find(columns: &[ReadColumn]) -> Option<String> {
    let rank = |column: &ReadColumn| {
        let plain: String = column.name().chars().filter(char::is_ascii_alphanumeric).collect();
        NAMES.iter().position(|name| plain.eq_ignore_ascii_case(name))
    };
    let mut named: Vec<(usize, &ReadColumn)> =
        columns.iter().filter(|column| column.depth == 0).filter_map(|column| Some((rank(column)?, column))).collect();
    named.sort_by_key(|(rank, _)| *rank);
    named.into_iter().map(|(_, column)| column).find(|column| is_unique(column)).map(|column| column.name().to_owned())
}

/// Whether every row has a value of its own. One row proves nothing.
fn is_unique(column: &ReadColumn) -> bool {
    let mut seen = HashSet::new();
    for array in &column.arrays {
        let Some(mut texts) = CellTexts::new(&column.field, array.as_ref()) else { return false };
        for row in 0..array.len() {
            let mut text = Vec::new();
            texts.append(row, &mut text);
            if !seen.insert(text) {
                return false;
            }
        }
    }
    seen.len() > 1 && column.nulls() == 0
}
