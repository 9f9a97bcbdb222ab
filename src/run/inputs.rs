//! Digests of the inputs of tasks and partitions: records with equal digests were made from the same rows.

use arrow::datatypes::Schema;
use sha2::{Digest, Sha256};

use crate::plan::{Partition, Plan, Task};
use crate::source::{Input, InputFacts, TimeRange};

/// A digest of what a task reads and writes, which names its record.
pub(super) fn task_key(task: &Task, plan: &Plan) -> String {
    let mut digest = Sha256::new();
    for read in &task.reads {
        digest.update(unit_identity(&plan.inputs[read.input as usize].input, read.unit));
        digest.update([u8::from(read.owner)]);
    }
    for p in task.partitions.clone() {
        let partition = &plan.partitions[p as usize];
        digest.update(format!("{}\0{}\0{}\0", partition.label, partition.start, partition.end));
    }
    data_encoding::HEXLOWER.encode(&digest.finalize()[..8])
}

/// For each partition, the digest of the source's columns and of the units that may have its rows.
pub(super) fn inputs(partitions: &[Partition], inputs: &[Input], facts: &[InputFacts], schema: &Schema) -> Vec<String> {
    // XOR is order-independent, and lets units with unknown times be added to all partitions at once.
    let mut everywhere = [0u8; 16];
    let mut digests = vec![[0u8; 16]; partitions.len()];
    let xor = |into: &mut [u8; 16], unit: &[u8; 16]| into.iter_mut().zip(unit).for_each(|(a, b)| *a ^= b);
    xor(&mut everywhere, &short_digest(format!("{schema:?}").as_bytes()));
    for (input, facts) in inputs.iter().zip(facts) {
        for (index, unit) in (0u32..).zip(&facts.units) {
            let identity = short_digest(&unit_identity(input, index));
            match unit.times {
                TimeRange::Within { min, max } => {
                    let first = partitions.partition_point(|p| p.end <= min);
                    let end = partitions.partition_point(|p| p.start <= max);
                    digests[first.min(end)..end].iter_mut().for_each(|d| xor(d, &identity));
                }
                TimeRange::Unknown => xor(&mut everywhere, &identity),
                TimeRange::Empty => {}
            }
        }
    }
    digests
        .into_iter()
        .map(|mut digest| {
            xor(&mut digest, &everywhere);
            data_encoding::HEXLOWER.encode(&digest)
        })
        .collect()
}

fn unit_identity(input: &Input, unit: u32) -> Vec<u8> {
    format!("{}\0{unit}\0", input.identity()).into_bytes()
}

fn short_digest(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(bytes)[..16]);
    short
}
