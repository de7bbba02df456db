//! Which values come before which.

use std::collections::BTreeMap;

/// Puts `nodes` into an order in which each comes after those it needs; of several always the same.
///
/// # Errors
///
/// A circle, when there is one: each needs the next, and the last the first.
pub(crate) fn order<N: Ord + Clone>(needs: &BTreeMap<N, Vec<N>>) -> Result<Vec<N>, Vec<N>> {
    let mut state: BTreeMap<&N, bool> = BTreeMap::new();
    let mut ordered = Vec::with_capacity(needs.len());
    for start in needs.keys() {
        // A way down by hand: declarations may form a chain that is longer than the stack.
        let mut way: Vec<(&N, std::slice::Iter<'_, N>)> = Vec::new();
        enter(start, needs, &mut state, &mut way);
        while let Some((node, rest)) = way.last_mut() {
            let node: &N = node;
            match rest.next() {
                None => {
                    state.insert(node, true);
                    ordered.push(node.clone());
                    way.pop();
                }
                Some(next) if state.get(next) == Some(&false) => {
                    let circle = way.iter().map(|(node, _)| *node).skip_while(|node| *node != next);
                    return Err(circle.cloned().collect());
                }
                Some(next) => enter(next, needs, &mut state, &mut way),
            }
        }
    }
    Ok(ordered)
}

/// Goes to a node that was not met yet.
fn enter<'a, N: Ord>(
    node: &'a N,
    needs: &'a BTreeMap<N, Vec<N>>,
    state: &mut BTreeMap<&'a N, bool>,
    way: &mut Vec<(&'a N, std::slice::Iter<'a, N>)>,
) {
    if let (Some(below), false) = (needs.get(node), state.contains_key(node)) {
        state.insert(node, false);
        way.push((node, below.iter()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(edges: &[(u8, u8)], nodes: u8) -> BTreeMap<u8, Vec<u8>> {
        let needs = |node| edges.iter().filter(|(a, _)| *a == node).map(|(_, b)| *b).collect();
        (0..nodes).map(|node| (node, needs(node))).collect()
    }

    /// Tells whether a graph has a circle, by taking away whatever needs nothing.
    fn has_circle(mut needs: BTreeMap<u8, Vec<u8>>) -> bool {
        loop {
            let free: Vec<u8> =
                needs.iter().filter(|(_, n)| n.is_empty()).map(|(node, _)| *node).collect();
            if free.is_empty() {
                return !needs.is_empty();
            }
            for node in free {
                needs.remove(&node);
                needs.values_mut().for_each(|n| n.retain(|other| *other != node));
            }
        }
    }

    proptest! {
        #[test]
        fn a_circle_is_found_exactly_when_there_is_one(
            edges in prop::collection::vec((0u8..12, 0u8..12), 0..30)
        ) {
            let needs = graph(&edges, 12);
            match order(&needs) {
                Ok(ordered) => {
                    prop_assert!(!has_circle(needs.clone()));
                    prop_assert_eq!(ordered.len(), 12);
                    for (at, node) in ordered.iter().enumerate() {
                        let before = &ordered[..at];
                        prop_assert!(needs[node].iter().all(|n| before.contains(n)));
                    }
                }
                Err(circle) => {
                    prop_assert!(has_circle(needs.clone()));
                    for (at, node) in circle.iter().enumerate() {
                        let next = &circle[(at + 1) % circle.len()];
                        prop_assert!(needs[node].contains(next));
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_chain_is_no_danger() {
        let needs = (0..200_000u32).map(|n| (n, vec![n + 1])).collect();
        assert_eq!(order(&needs).map(|o| o.len()), Ok(200_000));
    }
}
