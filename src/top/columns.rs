//! Tables of aligned columns, which drop columns on a narrow terminal.

use super::theme::{Theme, Tone};
use ratatui::text::{Line, Span};
use std::cmp::Ordering;

/// Width of a column that takes the rest of the line, on the narrowest terminal.
const FLEXIBLE: usize = 14;
/// Most characters of a flexible column that is not the last one.
const WIDEST_FLEXIBLE: usize = 40;

/// Key by which rows are ordered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SortKey {
    Text(String),
    Number(Option<f64>),
}

impl SortKey {
    /// Ascending order; rows without a number come before all others.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => {
                let number = |value: &Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
                number(a).total_cmp(&number(b))
            }
            (Self::Text(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Text(_)) => Ordering::Greater,
        }
    }
}

/// Text of a cell and its meaning.
pub(super) type Cell = (String, Tone);

/// One column of a table of `T`.
pub(super) struct Column<T> {
    pub heading: &'static str,
    /// Characters of the column; `None` for the one that takes the rest of the line.
    pub width: Option<usize>,
    /// Whether texts are aligned to the left. Numbers are aligned to the right.
    pub is_text: bool,
    /// Columns with a higher value are dropped first on a narrow terminal; 0 is never dropped.
    pub drop_order: u8,
    pub cell: fn(&T) -> Cell,
    pub key: fn(&T) -> SortKey,
}

impl<T> Column<T> {
    /// A column of numbers, of fixed width.
    pub const fn number(
        heading: &'static str,
        width: usize,
        drop_order: u8,
        cell: fn(&T) -> Cell,
        key: fn(&T) -> SortKey,
    ) -> Self {
        Self { heading, width: Some(width), is_text: false, drop_order, cell, key }
    }

    /// A column of texts.
    pub const fn text(
        heading: &'static str,
        width: Option<usize>,
        drop_order: u8,
        cell: fn(&T) -> Cell,
        key: fn(&T) -> SortKey,
    ) -> Self {
        Self { heading, width, is_text: true, drop_order, cell, key }
    }
}

/// The column that orders a table, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableOrder {
    pub column: usize,
    pub is_descending: bool,
}

/// Sorts rows. Equal rows keep their order.
pub(super) fn sort<T>(rows: &mut [&T], columns: &[Column<T>], order: TableOrder) {
    let Some(column) = columns.get(order.column) else { return };
    let compare = |a: &&T, b: &&T| (column.key)(a).compare(&(column.key)(b));
    match order.is_descending {
        true => rows.sort_by(|a, b| compare(b, a)),
        false => rows.sort_by(compare),
    }
}

/// The columns that fit a width.
pub(super) struct ColumnLayout<'a, T> {
    columns: Vec<(usize, &'a Column<T>, usize)>,
}

impl<'a, T> ColumnLayout<'a, T> {
    /// Drops columns until the others fit. The flexible column gets what is left.
    pub fn of(columns: &'a [Column<T>], width: usize) -> Self {
        let fixed = |column: &Column<T>| column.width.unwrap_or(FLEXIBLE) + 1;
        let needed = |drop_order: u8| -> usize {
            let kept = columns.iter().filter(|column| column.drop_order <= drop_order);
            kept.map(fixed).sum::<usize>().saturating_sub(1)
        };
        let is_kept =
            |column: &Column<T>| column.drop_order == 0 || needed(column.drop_order) <= width;
        let kept: Vec<_> =
            columns.iter().enumerate().filter(|(_, column)| is_kept(column)).collect();
        let used: usize = kept.iter().map(|(_, column)| fixed(column)).sum();
        let rest = (width + 1).saturating_sub(used);
        let last = kept.len().saturating_sub(1);
        let columns = kept.into_iter().enumerate().map(|(place, (at, column))| {
            let width = match column.width {
                Some(width) => width,
                None if place == last => FLEXIBLE + rest,
                None => (FLEXIBLE + rest).min(WIDEST_FLEXIBLE),
            };
            (at, column, width)
        });
        Self { columns: columns.collect() }
    }

    /// The line above the rows. The column that orders them has an arrow.
    pub fn heading(&self, order: Option<TableOrder>, theme: Theme) -> Line<'static> {
        let cell = |at: usize, column: &Column<T>| {
            let text = match order.filter(|order| order.column == at) {
                Some(order) if order.is_descending => format!("{}\u{25bc}", column.heading),
                Some(_) => format!("{}\u{25b2}", column.heading),
                None => column.heading.to_owned(),
            };
            (text, Tone::Heading)
        };
        self.line(cell, None, theme)
    }

    /// The line of a row.
    pub fn row(&self, row: &T, is_selected: bool, theme: Theme) -> Line<'static> {
        let tone = is_selected.then_some(Tone::Selected);
        self.line(|_, column| (column.cell)(row), tone, theme)
    }

    fn line(
        &self,
        cell: impl Fn(usize, &Column<T>) -> Cell,
        line_tone: Option<Tone>,
        theme: Theme,
    ) -> Line<'static> {
        let mut spans = Vec::with_capacity(2 * self.columns.len());
        for (place, (at, column, width)) in self.columns.iter().enumerate() {
            if place > 0 {
                spans.push(Span::raw(" "));
            }
            let (text, tone) = cell(*at, column);
            spans.push(Span::styled(fit(&text, *width, column.is_text), theme.style(tone)));
        }
        let line = Line::from(spans);
        match line_tone {
            Some(tone) => line.patch_style(theme.style(tone)),
            None => line,
        }
    }
}

/// Truncates a text to this width, or fills it with spaces.
pub(super) fn fit(text: &str, width: usize, is_text: bool) -> String {
    let columns = |text: &str| Span::raw(text).width();
    let mut text = text.to_owned();
    if columns(&text) > width {
        while !text.is_empty() && columns(&text) + 1 > width {
            text.pop();
        }
        if width > 0 {
            text.push('\u{2026}');
        }
    }
    let spaces = " ".repeat(width.saturating_sub(columns(&text)));
    if is_text { text + &spaces } else { spaces + &text }
}

/// Breaks a text into lines of at most `width` characters at its spaces.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if Span::raw(line.as_str()).width() + 1 + Span::raw(word).width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_wrapped_at_spaces() {
        assert_eq!(wrap("It waited in the queue.", 10), ["It waited", "in the", "queue."]);
        assert_eq!(wrap("unbreakable", 4), ["unbreakable"]);
        assert_eq!(wrap("", 4), [""]);
    }

    const COLUMNS: [Column<(&str, f64)>; 3] = [
        Column {
            heading: "name",
            width: None,
            is_text: true,
            drop_order: 0,
            cell: |row| (row.0.to_owned(), Tone::Plain),
            key: |row| SortKey::Text(row.0.to_owned()),
        },
        Column {
            heading: "first",
            width: Some(6),
            is_text: false,
            drop_order: 2,
            cell: |row| (row.1.to_string(), Tone::Plain),
            key: |row| SortKey::Number(Some(row.1)),
        },
        Column {
            heading: "second",
            width: Some(6),
            is_text: false,
            drop_order: 1,
            cell: |row| (row.1.to_string(), Tone::Plain),
            key: |row| SortKey::Number(Some(row.1)),
        },
    ];

    fn row(width: usize) -> String {
        let layout = ColumnLayout::of(&COLUMNS, width);
        layout.row(&("a-very-long-name-of-a-model", 1.5), false, Theme::PLAIN).to_string()
    }

    #[test]
    fn narrow_tables_drop_columns_and_wide_ones_widen_the_name() {
        assert_eq!(row(28), "a-very-long-n\u{2026}    1.5    1.5");
        assert_eq!(row(27), "a-very-long-name-of\u{2026}    1.5");
        assert_eq!(row(20), "a-very-long-name-of\u{2026}");
        assert_eq!(row(60), format!("{:<40}    1.5    1.5", "a-very-long-name-of-a-model"));
    }

    #[test]
    fn rows_are_sorted_and_the_heading_shows_it() {
        let (a, b) = (("a", 1.0), ("b", 2.0));
        let mut rows = vec![&a, &b];
        let order = TableOrder { column: 1, is_descending: true };
        sort(&mut rows, &COLUMNS, order);
        assert_eq!(rows, [&b, &a]);
        let layout = ColumnLayout::of(&COLUMNS, 40);
        assert!(layout.heading(Some(order), Theme::PLAIN).to_string().contains("first\u{25bc}"));
        sort(&mut rows, &COLUMNS, TableOrder { column: 0, is_descending: false });
        assert_eq!(rows, [&a, &b]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(fit("\u{6a21}\u{578b}", 6, true), "\u{6a21}\u{578b}  ");
        assert_eq!(fit("\u{6a21}\u{578b}\u{6a21}", 5, true), "\u{6a21}\u{578b}\u{2026}");
        assert_eq!(fit("ab", 1, true), "\u{2026}");
        assert_eq!(fit("ab", 0, true), "");
    }
}
