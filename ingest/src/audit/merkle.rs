//! The Merkle tree of RFC 6962, section 2.1, over SHA-256: a root for a list of leaves, and
//! the path from one leaf to the root.

use sha2::{Digest, Sha256};

use super::Hash;

/// Of a leaf's content.
pub fn leaf(content: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(content).finalize().into())
}

fn node(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// How many of `count` leaves, at least 2, are on the left: the largest power of two below it.
fn left_of(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// The root of a list of leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(left_of(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// The siblings on the way from the leaf at `index` to the root, nearest first; empty when
/// there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 || index >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(left_of(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (self::path(left, index), root(right))
    } else {
        (self::path(right, index - left.len()), root(left))
    };
    path.push(sibling);
    path
}

/// The root to which a leaf hash at `index` of `count` leaves and its path lead; none where
/// the path is not one of such a leaf.
pub fn climb(leaf: Hash, index: u64, count: u64, path: &[Hash]) -> Option<Hash> {
    // The steps from the root down say on which side each sibling stands.
    let (mut index, mut count, mut is_left) = (index, count, Vec::new());
    if index >= count {
        return None;
    }
    while count > 1 {
        let left = 1 << (count - 1).ilog2();
        is_left.push(index < left);
        (index, count) = if index < left { (index, left) } else { (index - left, count - left) };
    }
    if is_left.len() != path.len() {
        return None;
    }
    let steps = is_left.iter().rev().zip(path);
    Some(steps.fold(leaf, |at, (is_left, sibling)| if *is_left { node(at, *sibling) } else { node(*sibling, at) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves and roots that implementations of RFC 6962 are tested with
    /// (`certificate-transparency`, `merkletree`).
    const LEAVES: [&[u8]; 8] = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_other_implementations() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|content| leaf(content)).collect();
        for (count, expected) in ROOTS.iter().enumerate() {
            assert_eq!(root(&leaves[..count]).to_string(), *expected, "of {count} leaves");
        }
    }

    #[test]
    fn a_path_leads_from_its_leaf_to_the_root_and_from_no_other() {
        let all: Vec<Hash> = (0_u8..70).map(|at| leaf(&[at])).collect();
        for count in 1..=all.len() {
            let leaves = &all[..count];
            let top = root(leaves);
            for (index, at) in leaves.iter().enumerate() {
                let path = path(leaves, index);
                let climbed = |index: usize, path: &[Hash]| climb(*at, index as u64, count as u64, path);
                assert_eq!(climbed(index, &path), Some(top), "{index} of {count}");
                assert_eq!(climbed(count, &path), None, "beyond the end");
                for other in (0..count).filter(|other| *other != index) {
                    assert_ne!(climbed(other, &path), Some(top), "{index} of {count} as {other}");
                }
                let longer: Vec<Hash> = path.iter().copied().chain([top]).collect();
                assert_eq!(climbed(index, &longer), None);
                for touched in 0..path.len() {
                    let mut path = path.clone();
                    path[touched].0[0] ^= 1;
                    assert_ne!(climbed(index, &path), Some(top));
                }
            }
        }
    }

    #[test]
    fn a_node_cannot_stand_in_for_a_leaf() {
        let (one, two) = (leaf(b"1"), leaf(b"2"));
        let content = [one.0, two.0].concat();
        assert_ne!(leaf(&content), node(one, two));
    }
}
