//! Checks conditions against a second, simple evaluator that works row by row with explicit three-valued logic.
//!
//! It shares no code with the implementation: exact values are compared as `i128` at one scale, times as nanoseconds listed
//! beside their text, LIKE by recursion.

mod rows;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::TimestampMillisecondArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::Predicate;
use crate::diagnostic::Located;
use crate::job::{Condition, Filter, Scalar};
use rows::Cell::{self, Bool, Exact, Float, Nanos, Null};
use rows::{COLUMNS, Rows, literals};

const OPS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// A condition, to be written as SQL and evaluated plainly.
#[derive(Debug, Clone)]
enum Query {
    Compare(&'static str, usize, (String, Cell)),
    Flipped((String, Cell), usize, &'static str),
    Columns(&'static str, usize, &'static str),
    In(&'static str, Vec<(String, Cell)>, bool),
    Between(&'static str, (String, Cell), (String, Cell), bool),
    IsNull(&'static str, bool),
    Like(&'static str, &'static str, bool),
    Bare,
    /// column ⊕ number op number
    Arithmetic(&'static str, char, (String, Cell), usize, (String, Cell)),
    And(Vec<Query>),
    Or(Vec<Query>),
    Not(Box<Query>),
    Is(Box<Query>, &'static str),
}

impl Query {
    fn sql(&self) -> String {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        let join =
            |parts: &[Query], with: &str| format!("({})", parts.iter().map(Query::sql).collect::<Vec<_>>().join(with));
        match self {
            Self::Compare(column, op, (literal, _)) => format!("{column} {} {literal}", OPS[*op]),
            Self::Flipped((literal, _), op, column) => format!("{literal} {} \"{column}\"", OPS[*op]),
            Self::Columns(left, op, right) => format!("{left} {} {right}", OPS[*op]),
            Self::In(column, list, negated) => {
                let list: Vec<_> = list.iter().map(|l| l.0.as_str()).collect();
                format!("{column} {}IN ({})", not(negated), list.join(", "))
            }
            Self::Between(column, low, high, negated) => {
                format!("{column} {}BETWEEN {} AND {}", not(negated), low.0, high.0)
            }
            Self::IsNull(column, negated) => format!("{column} IS {}NULL", not(negated)),
            Self::Like(column, pattern, negated) => format!("{column} {}LIKE '{pattern}'", not(negated)),
            Self::Bare => "bool".into(),
            Self::Arithmetic(column, sign, (number, _), op, (literal, _)) => {
                format!("{column} {sign} {number} {} {literal}", OPS[*op])
            }
            Self::And(parts) => join(parts, " AND "),
            Self::Or(parts) => join(parts, " OR "),
            Self::Not(inner) => format!("NOT ({})", inner.sql()),
            Self::Is(inner, what) => format!("({}) IS {what}", inner.sql()),
        }
    }

    fn holds(&self, rows: &Rows, row: usize) -> Option<bool> {
        let negate = |value: Option<bool>, negated: bool| value.map(|v| v != negated);
        match self {
            Self::Compare(column, op, (_, literal)) => compare(rows.cell(column, row), *op, literal),
            Self::Flipped((_, literal), op, column) => compare(literal, *op, rows.cell(column, row)),
            Self::Columns(left, op, right) => compare(rows.cell(left, row), *op, rows.cell(right, row)),
            Self::In(column, list, negated) => {
                let cell = rows.cell(column, row);
                negate(or(list.iter().map(|(_, literal)| compare(cell, 0, literal))), *negated)
            }
            Self::Between(column, low, high, negated) => {
                let cell = rows.cell(column, row);
                negate(and([compare(cell, 5, &low.1), compare(cell, 3, &high.1)].into_iter()), *negated)
            }
            Self::IsNull(column, negated) => Some((*rows.cell(column, row) == Null) != *negated),
            Self::Like(column, pattern, negated) => match rows.cell(column, row) {
                Cell::Text(value) => {
                    let (value, pattern): (Vec<_>, Vec<_>) = (value.chars().collect(), pattern.chars().collect());
                    Some(like(&value, &pattern) != *negated)
                }
                _ => None,
            },
            Self::Bare => match rows.cell("bool", row) {
                Bool(value) => Some(*value),
                _ => None,
            },
            Self::Arithmetic(column, sign, (_, number), op, (_, literal)) => {
                compare(&arithmetic(rows.cell(column, row), *sign, number), *op, literal)
            }
            Self::And(parts) => and(parts.iter().map(|p| p.holds(rows, row))),
            Self::Or(parts) => or(parts.iter().map(|p| p.holds(rows, row))),
            Self::Not(inner) => negate(inner.holds(rows, row), true),
            Self::Is(inner, what) => {
                let value = inner.holds(rows, row);
                Some(match *what {
                    "TRUE" => value == Some(true),
                    "NOT TRUE" => value != Some(true),
                    "FALSE" => value == Some(false),
                    "NOT FALSE" => value != Some(false),
                    "NULL" => value.is_none(),
                    _ => value.is_some(),
                })
            }
        }
    }
}

fn and(values: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let values: Vec<_> = values.collect();
    if values.contains(&Some(false)) {
        Some(false)
    } else if values.contains(&None) {
        None
    } else {
        Some(true)
    }
}

fn or(values: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    and(values.map(|v| v.map(|v| !v))).map(|v| !v)
}

fn as_f64(cell: &Cell) -> f64 {
    match cell {
        Float(v) => *v,
        Exact(mantissa, scale) => format!("{mantissa}e{}", -scale).parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn compare(left: &Cell, op: usize, right: &Cell) -> Option<bool> {
    let order = match (left, right) {
        (Null, _) | (_, Null) => return None,
        (Bool(a), Bool(b)) => a.cmp(b),
        (Cell::Text(a), Cell::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Nanos(a), Nanos(b)) => a.cmp(b),
        (Exact(a, x), Exact(b, y)) => (a * 10i128.pow((12 - x) as u32)).cmp(&(b * 10i128.pow((12 - y) as u32))),
        _ => {
            let (a, b) = (as_f64(left), as_f64(right));
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
    };
    Some(match op {
        0 => order == Ordering::Equal,
        1 => order != Ordering::Equal,
        2 => order == Ordering::Less,
        3 => order != Ordering::Greater,
        4 => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn arithmetic(left: &Cell, sign: char, right: &Cell) -> Cell {
    match (left, right) {
        (Null, _) => Null,
        (Exact(a, x), Exact(b, y)) if sign != '/' => {
            let scale = *x.max(y);
            let (p, q) = (a * 10i128.pow((scale - x) as u32), b * 10i128.pow((scale - y) as u32));
            match sign {
                '+' => Exact(p + q, scale),
                '-' => Exact(p - q, scale),
                '*' => Exact(a * b, x + y),
                _ if q == 0 => Null,
                _ => Exact(p % q, scale),
            }
        }
        _ => {
            let (a, b) = (as_f64(left), as_f64(right));
            match sign {
                '+' => Float(a + b),
                '-' => Float(a - b),
                '*' => Float(a * b),
                _ if b == 0.0 => Null,
                '/' => Float(a / b),
                _ => Float(a % b),
            }
        }
    }
}

fn like(value: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['%', rest @ ..] => (0..=value.len()).any(|i| like(&value[i..], rest)),
        ['_', rest @ ..] => !value.is_empty() && like(&value[1..], rest),
        [c, rest @ ..] => value.first() == Some(c) && like(&value[1..], rest),
    }
}

fn compile(sql: &str, schema: &Schema) -> Predicate {
    Predicate::compile(&[], Some(&Located::default_value(sql.to_owned())), schema)
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
        .unwrap()
}

fn check(query: &Query, rows: &Rows) {
    let sql = query.sql();
    let predicate = compile(&sql, &rows.batch.schema());
    let needed: Vec<_> = predicate.columns().iter().map(|c| rows.batch.schema().index_of(c).unwrap()).collect();
    let got = if needed.is_empty() {
        predicate.evaluate(&rows.batch)
    } else {
        predicate.evaluate(&rows.batch.project(&needed).unwrap())
    };
    let got = got.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let got = got.kept();
    assert_eq!(got.len(), rows.batch.num_rows(), "{sql}");
    for row in 0..rows.batch.num_rows() {
        let expected = query.holds(rows, row);
        assert_eq!(
            got.value(row),
            expected == Some(true),
            "{sql} is {expected:?} in row {row}: {:?}",
            row_of(rows, row)
        );
    }
}

fn row_of(rows: &Rows, row: usize) -> Vec<(&'static str, &Cell)> {
    COLUMNS.iter().map(|c| (*c, rows.cell(c, row))).collect()
}

fn ops(column: &str) -> std::ops::Range<usize> {
    if column == "bool" { 0..2 } else { 0..6 }
}

#[test]
fn every_operator_means_the_same_for_every_type_and_literal() {
    let rows = Rows::all();
    for column in COLUMNS {
        check(&Query::IsNull(column, false), &rows);
        check(&Query::IsNull(column, true), &rows);
        let pool = literals(column);
        for literal in &pool {
            for op in ops(column) {
                // The condition and its negation: a wrong null shows in one of them.
                let compare = Query::Compare(column, op, literal.clone());
                check(&compare, &rows);
                check(&Query::Not(Box::new(compare)), &rows);
                check(&Query::Flipped(literal.clone(), op, column), &rows);
            }
            let null = ("NULL".to_owned(), Null);
            for negated in [false, true] {
                check(&Query::In(column, vec![literal.clone()], negated), &rows);
                check(&Query::In(column, vec![literal.clone(), null.clone()], negated), &rows);
                check(&Query::In(column, pool.clone(), negated), &rows);
                if column != "bool" {
                    check(&Query::Between(column, literal.clone(), pool[0].clone(), negated), &rows);
                    check(&Query::Between(column, pool[0].clone(), null.clone(), negated), &rows);
                }
            }
        }
    }
}

/// Columns that can be compared with each other.
const FAMILIES: [&[&str]; 7] = [
    &["i8", "i32", "u32", "i64", "u64", "d9_2", "d38_10", "d64_3", "tens", "f32", "f64"],
    &["text", "large", "dict"],
    &["ts_s", "ts_us", "ts_ns"],
    &["naive_ms"],
    &["date"],
    &["time"],
    &["nothing", "i64"],
];

#[test]
fn columns_of_a_family_compare_exactly_with_each_other() {
    let rows: Vec<_> = (0..24).map(|r| (0..COLUMNS.len()).map(|c| r * (c + 1) + r / 3).collect()).collect();
    let rows = Rows::new(&rows);
    for family in FAMILIES {
        for left in family {
            for right in family {
                for op in 0..6 {
                    check(&Query::Columns(left, op, right), &rows);
                }
            }
        }
    }
    for op in 0..2 {
        check(&Query::Columns("bool", op, "bool"), &rows);
    }
}

const PATTERNS: [&str; 12] = ["", "a", "a%", "%b", "%a%", "_", "a_b", "%", "%%", "x%y", "_%_", "a.b"];

#[test]
fn like_matches_what_the_plain_recursion_matches() {
    let rows = Rows::all();
    for column in ["text", "large", "dict", "nothing"] {
        for pattern in PATTERNS {
            for negated in [false, true] {
                check(&Query::Like(column, pattern, negated), &rows);
            }
        }
    }
}

const NUMBERS: [&str; 8] = ["i8", "i32", "u32", "i64", "u64", "d9_2", "d64_3", "f64"];

fn operands() -> Vec<(String, Cell)> {
    ["0", "1", "-2", "3", "1.5", "-0.25"]
        .iter()
        .map(|t| {
            let scale = t.split_once('.').map_or(0, |(_, f)| f.len() as i32);
            ((*t).to_owned(), Exact(t.replace('.', "").parse().unwrap(), scale))
        })
        .collect()
}

#[test]
fn arithmetic_is_exact_or_binary64() {
    let rows = Rows::all();
    for column in NUMBERS {
        for sign in ['+', '-', '*', '/', '%'] {
            for number in operands() {
                for literal in operands() {
                    for op in [0, 2, 5] {
                        check(&Query::Arithmetic(column, sign, number.clone(), op, literal.clone()), &rows);
                    }
                }
            }
        }
    }
}

fn leaf() -> impl Strategy<Value = Query> {
    let pick = any::<prop::sample::Index>;
    (0..9usize, pick(), 0..6usize, pick(), pick(), any::<bool>()).prop_map(|(shape, column, op, a, b, negated)| {
        let name = COLUMNS[column.index(COLUMNS.len())];
        let pool = literals(name);
        let op = op % ops(name).len();
        let literal = |i: prop::sample::Index| pool[i.index(pool.len())].clone();
        match shape {
            0 | 1 if !pool.is_empty() => Query::Compare(name, op, literal(a)),
            2 if !pool.is_empty() => Query::Flipped(literal(a), op, name),
            3 if !pool.is_empty() => {
                let null = ("NULL".to_owned(), Null);
                Query::In(name, vec![literal(a), if negated { null } else { literal(b) }], op == 1)
            }
            4 if !pool.is_empty() && name != "bool" => Query::Between(name, literal(a), literal(b), negated),
            5 => Query::Like(["text", "large", "dict"][a.index(3)], PATTERNS[b.index(PATTERNS.len())], negated),
            6 => Query::Bare,
            7 => {
                let family = FAMILIES[column.index(FAMILIES.len())];
                Query::Columns(family[a.index(family.len())], op, family[b.index(family.len())])
            }
            8 => {
                let (numbers, operands) = (NUMBERS[column.index(NUMBERS.len())], operands());
                let sign = ['+', '-', '*', '/', '%'][b.index(5)];
                let operand = |i: prop::sample::Index| operands[i.index(operands.len())].clone();
                Query::Arithmetic(numbers, sign, operand(a), op, operand(b))
            }
            _ => Query::IsNull(name, negated),
        }
    })
}

fn query() -> impl Strategy<Value = Query> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..5);
        prop_oneof![
            parts.clone().prop_map(Query::And),
            parts.prop_map(Query::Or),
            inner.clone().prop_map(|q| Query::Not(Box::new(q))),
            (inner, prop::sample::select(vec!["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "NULL", "NOT NULL"]))
                .prop_map(|(q, what)| Query::Is(Box::new(q), what)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn random_conditions_over_random_rows_agree_with_the_plain_evaluation(
        query in query(),
        rows in prop::collection::vec(prop::collection::vec(0usize..32, COLUMNS.len()), 0..40),
    ) {
        check(&query, &Rows::new(&rows));
    }
}

fn scalar(literal: &(String, Cell)) -> Option<Scalar> {
    Some(match &literal.1 {
        Bool(value) => Scalar::Bool(*value),
        // serde_json holds a fraction as binary64, in which this one is another number.
        Exact(..) if literal.0 == "9007199254740992.5" => return None,
        Exact(..) | Float(_) => Scalar::Number(literal.0.parse().ok()?),
        _ => Scalar::Text(literal.0.strip_prefix('\'')?.strip_suffix('\'')?.to_owned()),
    })
}

#[test]
fn filters_mean_what_where_means() {
    let rows = Rows::all();
    let schema = rows.batch.schema();
    let evaluate = |column: &str, condition: Condition| -> Vec<bool> {
        let filter = Filter {
            column: Located::default_value(column.to_owned()),
            key: column.to_owned(),
            condition: Located::default_value(condition),
        };
        let predicate = Predicate::compile(&[filter], None, &schema).unwrap().unwrap();
        predicate.evaluate(&rows.batch).unwrap().kept().iter().collect()
    };
    let by_sql =
        |sql: String| -> Vec<bool> { compile(&sql, &schema).evaluate(&rows.batch).unwrap().kept().iter().collect() };
    for column in COLUMNS {
        for wanted in [true, false] {
            let sql = format!("{column} IS {}NULL", if wanted { "" } else { "NOT " });
            assert_eq!(evaluate(column, Condition::IsNull(wanted)), by_sql(sql), "{column}");
        }
        let pool: Vec<_> = literals(column).into_iter().filter_map(|l| Some((l.0.clone(), scalar(&l)?))).collect();
        for (sql, value) in &pool {
            let v = || value.clone();
            for (op, condition) in [
                ("=", Condition::Eq(v())),
                ("<>", Condition::Ne(v())),
                ("<", Condition::Lt(v())),
                ("<=", Condition::Lte(v())),
                (">", Condition::Gt(v())),
                (">=", Condition::Gte(v())),
            ] {
                if column == "bool" && op != "=" && op != "<>" {
                    continue;
                }
                assert_eq!(evaluate(column, condition), by_sql(format!("{column} {op} {sql}")), "{column} {op} {sql}");
            }
            let (list, values): (Vec<_>, Vec<_>) = pool.iter().map(|(s, v)| (s.as_str(), v.clone())).unzip();
            let list = list.join(", ");
            assert_eq!(evaluate(column, Condition::In(values.clone())), by_sql(format!("{column} IN ({list})")));
            assert_eq!(evaluate(column, Condition::NotIn(values)), by_sql(format!("{column} NOT IN ({list})")));
            if column != "bool" {
                let (first, low) = &pool[0];
                let between = Condition::Between(low.clone(), v());
                assert_eq!(evaluate(column, between), by_sql(format!("{column} BETWEEN {first} AND {sql}")));
            }
        }
    }
    for column in ["text", "large", "dict"] {
        for part in ["", "a", "b", "ä", "."] {
            let contains = evaluate(column, Condition::Contains(part.into()));
            assert_eq!(contains, by_sql(format!("{column} LIKE '%{part}%'")), "{part}");
            assert_eq!(
                evaluate(column, Condition::StartsWith(part.into())),
                by_sql(format!("{column} LIKE '{part}%'"))
            );
            assert_eq!(evaluate(column, Condition::EndsWith(part.into())), by_sql(format!("{column} LIKE '%{part}'")));
            let regex = Condition::Matches(regex::escape(part));
            assert_eq!(evaluate(column, regex), contains);
        }
        let regex = evaluate(column, Condition::Matches("^[ab].".into()));
        assert_eq!(regex, by_sql(format!("{column} LIKE 'a_%' OR {column} LIKE 'b_%'")));
    }
}

#[test]
fn where_may_be_the_same_for_all_rows() {
    let rows = Rows::all();
    for (sql, expected) in [("TRUE", true), ("1 = 1 AND 2 > 1.5", true), ("NULL", false), ("'a' < 'B'", false)] {
        let predicate = compile(sql, &rows.batch.schema());
        assert!(predicate.columns().is_empty());
        assert_eq!(predicate.evaluate(&rows.batch).unwrap().kept(), &BooleanBuffer::from(vec![expected; 24]), "{sql}");
    }
}

#[test]
fn a_time_of_another_unit_or_zone_name_is_the_same_instant() {
    let schema =
        Schema::new(vec![Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("+02:00".into())), true)]);
    let at = TimestampMillisecondArray::from(vec![Some(1_772_323_200_000), None]).with_timezone("+02:00");
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(at)]).unwrap();
    let selected = compile("at = '2026-03-01T00:00:00Z'", &schema).evaluate(&batch).unwrap();
    assert_eq!(selected.kept(), &BooleanBuffer::from(vec![true, false]));
}
