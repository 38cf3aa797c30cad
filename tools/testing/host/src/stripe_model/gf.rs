// SPDX-License-Identifier: GPL-2.0

//! P and Q of one row, eight bytes a sector; slow and plain.

/// A page: one number stands for each of its 512-byte sectors.
pub(super) type Page = [u64; 8];

fn mul(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut r) = (a, b, 0);
    while b != 0 {
        if b & 1 == 1 {
            r ^= a;
        }
        a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1d };
        b >>= 1;
    }
    r
}

/// Two to the power of `i`.
fn power(i: usize) -> u8 {
    (0..i).fold(1, |x, _| mul(x, 2))
}

fn inverse(a: u8) -> u8 {
    (1..=255)
        .find(|b| mul(a, *b) == 1)
        .expect("zero has no inverse")
}

/// `by` times every byte of the page.
fn scale(page: &Page, by: u8) -> Page {
    let mut out = [0; 8];
    for (to, from) in out.iter_mut().zip(page) {
        *to = u64::from_le_bytes(from.to_le_bytes().map(|byte| mul(byte, by)));
    }
    out
}

pub(super) fn xor(a: &Page, b: &Page) -> Page {
    let mut out = *a;
    for (to, from) in out.iter_mut().zip(b) {
        *to ^= from;
    }
    out
}

/// A row of which every strip's page is known or not; data in the order of the slots.
pub(super) struct Row {
    pub(super) data: Vec<Option<Page>>,
    pub(super) p: Option<Page>,
    /// None if there is no Q or if it is lost.
    pub(super) q: Option<Page>,
}

pub(super) fn p_of(data: &[Page]) -> Page {
    data.iter().fold([0; 8], |p, d| xor(&p, d))
}

pub(super) fn q_of(data: &[Page]) -> Page {
    data.iter()
        .enumerate()
        .fold([0; 8], |q, (i, d)| xor(&q, &scale(d, power(i))))
}

/// What data strip `i` adds to Q.
pub(super) fn q_part(i: usize, page: &Page) -> Page {
    scale(page, power(i))
}

impl Row {
    /// All data, computed where it is lost; `None` if that cannot be.
    pub(super) fn solve(&self) -> Option<Vec<Page>> {
        let lost: Vec<usize> = (0..self.data.len())
            .filter(|i| self.data[*i].is_none())
            .collect();
        let mut data: Vec<Page> = self.data.iter().map(|d| d.unwrap_or([0; 8])).collect();
        let p_rest = self.p.map(|p| xor(&p, &p_of(&data)));
        let q_rest = self.q.map(|q| xor(&q, &q_of(&data)));
        match (lost.as_slice(), p_rest, q_rest) {
            ([], _, _) => {}
            ([x], Some(p), _) => data[*x] = p,
            ([x], None, Some(q)) => data[*x] = scale(&q, inverse(power(*x))),
            ([x, y], Some(p), Some(q)) => {
                // p = dx + dy, q = gx dx + gy dy.
                let (gx, gy) = (power(*x), power(*y));
                let dx = scale(&xor(&q, &scale(&p, gy)), inverse(gx ^ gy));
                data[*x] = dx;
                data[*y] = xor(&p, &dx);
            }
            _ => return None,
        }
        Some(data)
    }
}

#[test]
fn any_two_strips_can_be_lost() {
    let data: Vec<Page> = (0..4u64)
        .map(|i| [i * 0x1234_5678_9abc_def1 + 7, 1, 2, 3, i, 5, 6 + i, 7])
        .collect();
    let whole = || Row {
        data: data.iter().map(|d| Some(*d)).collect(),
        p: Some(p_of(&data)),
        q: Some(q_of(&data)),
    };
    for a in 0..6 {
        for b in 0..6 {
            let mut row = whole();
            for x in [a, b] {
                match x {
                    4 => row.p = None,
                    5 => row.q = None,
                    _ => row.data[x] = None,
                }
            }
            assert_eq!(row.solve().as_ref(), Some(&data));
        }
    }
}
