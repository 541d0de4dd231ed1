//! The nearest photos and near duplicates.

use ocelli::{duplicate_groups, nearest};

#[test]
fn the_nearest_are_those_of_the_definition() {
    let among = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0, -1.0, 0.0];
    let found = nearest(&[2.0, 0.0], &among, 2, 3);
    let indices: Vec<usize> = found[0].iter().map(|near| near.index).collect();
    assert_eq!(indices, [0, 2, 1]);
    assert!((found[0][1].similarity - 0.5f32.sqrt()).abs() < 1e-6);
    assert_eq!(nearest(&[2.0, 0.0], &among, 2, 10)[0].len(), 4, "no more than there are");
    assert_eq!(nearest(&[0.0, 0.0], &among, 2, 1)[0][0].similarity, 0.0, "no NaN");
}

#[test]
fn near_duplicates_are_grouped_transitively() {
    // Three clusters of different directions; rows 0, 2, 4 and rows 1, 5 nearly coincide, row 3 is alone.
    let rows: [[f32; 4]; 6] = [
        [5.0, 1.0, 0.0, 0.0],
        [0.0, 4.0, 6.0, 1.0],
        [5.01, 1.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 9.0],
        [5.0, 1.01, 0.0, 0.0],
        [0.0, 4.0, 6.02, 1.0],
    ];
    let groups = duplicate_groups(&rows.concat(), 4);
    let indices: Vec<Vec<usize>> =
        groups.iter().map(|group| group.iter().map(|near| near.index).collect()).collect();
    assert_eq!(indices, [vec![0, 2, 4], vec![1, 5]]);
    let same = duplicate_groups(&[1.0; 6], 2);
    assert_eq!(same[0].len(), 3, "identical photos are one group");
}
