//! Aligned columns and human-readable numbers.

use crate::readable::whole;

/// Aligns rows in columns: the first column to the left, all others to the right. A column has the
/// given width, so that a redrawn table does not move; it is wider if a cell needs more. A row of one
/// cell is a line of text: it widens no column.
pub(super) fn lay_out(rows: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let mut widths = widths.to_vec();
    for row in rows.iter().filter(|row| row.len() > 1) {
        for (at, cell) in row.iter().enumerate() {
            // At least one space before a right-aligned cell.
            let needed = cell.chars().count() + usize::from(at > 0 && !cell.is_empty());
            match widths.get_mut(at) {
                Some(width) => *width = needed.max(*width),
                None => widths.push(needed),
            }
        }
    }
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(&match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Formats a number with two decimals, with a comma between thousands.
pub(super) fn hundredths(number: f64) -> String {
    // Rounds before it splits: 0.999 becomes 1.00.
    let hundredths = (number * 100.0).round();
    format!("{}.{:02}", whole((hundredths / 100.0).trunc()), hundredths.abs() % 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [row(&["", "req", "ms"]), row(&["a", "1", ""]), row(&["long", "12,345", "2.0"])];
        let table: [(&[usize], [&str; 3]); 2] = [
            (&[6, 8, 5], ["           req   ms", "a            1", "long    12,345  2.0"]),
            // Widths that are too small or missing grow to the widest cell.
            (&[1, 3], ["        req  ms", "a         1", "long 12,345 2.0"]),
        ];
        for (widths, expected) in table {
            assert_eq!(lay_out(&rows, widths), expected);
        }
    }

    #[test]
    fn a_row_of_one_cell_widens_no_column() {
        let rows = [vec!["a line of text".to_owned()], vec!["a".to_owned(), "1".to_owned()]];
        assert_eq!(lay_out(&rows, &[2, 3]), ["a line of text", "a   1"]);
    }

    #[test]
    fn numbers_are_readable() {
        for (number, expected) in
            [(0.0, "0.00"), (0.999, "1.00"), (1_999.996, "2,000.00"), (1_234.051, "1,234.05")]
        {
            assert_eq!(hundredths(number), expected);
        }
    }
}
