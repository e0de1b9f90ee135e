//! How the files of a log are named and filled: [C2SP tlog-tiles](https://c2sp.org/tlog-tiles).

use crate::{Error, Hash, MAX_ENTRY};

/// Hashes in a full tile, entries in a full bundle.
pub const WIDTH: u64 = 256;

/// A tile of hashes or a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// None for a bundle of entries; 0 for leaf hashes; each further level stands on full tiles of the one below.
    pub level: Option<u8>,
    /// Counted from the left on its level.
    pub number: u64,
    /// 1 to 256; less than 256 for a partial tile.
    pub width: u16,
}

impl Tile {
    /// Where it stands below the log's folder.
    pub fn path(&self) -> String {
        let mut parts = vec![format!("{:03}", self.number % 1000)];
        let mut rest = self.number / 1000;
        while rest > 0 {
            parts.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        parts.reverse();
        let level = self.level.map_or("entries".to_owned(), |level| level.to_string());
        let partial =
            if u64::from(self.width) < WIDTH { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{level}/{}{partial}", parts.join("/"))
    }

    /// The same tile when it is full.
    pub fn full(&self) -> Tile {
        Tile { width: WIDTH as u16, ..*self }
    }

    /// The tile as it is in a log of this size; none when the log does not have it.
    pub fn at_size(level: Option<u8>, number: u64, size: u64) -> Option<Tile> {
        let height = u32::from(level.unwrap_or(0)) * 8;
        let hashes = size.checked_shr(height).unwrap_or(0);
        let width = hashes.checked_sub(number.checked_mul(WIDTH)?)?.min(WIDTH);
        (width > 0).then_some(Tile { level, number, width: width as u16 })
    }
}

/// The file of a tile of hashes.
pub fn join_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes in the file of a tile.
pub fn split_hashes(tile: &Tile, bytes: &[u8]) -> Result<Vec<Hash>, Error> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(tile.width) {
        let why =
            format!("{} has {} bytes, expected {}", tile.path(), bytes.len(), u32::from(tile.width) * 32);
        return Err(Error::format("tile", why));
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// Adds an entry to the file of a bundle.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let size =
        u16::try_from(entry.len()).map_err(|_| Error::TooLong { size: entry.len(), limit: MAX_ENTRY })?;
    bundle.extend(size.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The entries in the file of a bundle. Names the first index that cannot be read.
pub fn split_entries<'b>(tile: &Tile, mut bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, Error> {
    let mut entries = Vec::with_capacity(tile.width.into());
    for at in 0..u64::from(tile.width) {
        let broken = || {
            let index = tile.number * WIDTH + at;
            Error::format("entry bundle", format!("{}: entry {index} is cut off", tile.path()))
        };
        let (size, rest) = bytes.split_first_chunk::<2>().ok_or_else(broken)?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*size).into()).ok_or_else(broken)?;
        entries.push(entry);
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(entries)
    } else {
        let why = format!("{}: {} bytes follow the last entry", tile.path(), bytes.len());
        Err(Error::format("entry bundle", why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_named_as_the_specification_says() {
        let tile = |level, number, width| Tile { level, number, width }.path();

        assert_eq!(tile(Some(0), 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile(Some(2), 5, 17), "tile/2/005.p/17");
        assert_eq!(tile(None, 273, 112), "tile/entries/273.p/112");
        assert_eq!(tile(None, 1000, 256), "tile/entries/x001/000");
    }

    #[test]
    fn a_log_of_seventy_thousand_has_the_tiles_of_the_specification() {
        let width = |level, number| Tile::at_size(Some(level), number, 70_000).map(|tile| tile.width);

        assert_eq!([width(0, 272), width(0, 273), width(0, 274)], [Some(256), Some(112), None]);
        assert_eq!([width(1, 0), width(1, 1), width(1, 2)], [Some(256), Some(17), None]);
        assert_eq!([width(2, 0), width(2, 1), width(3, 0)], [Some(1), None, None]);
    }

    #[test]
    fn a_bundle_survives_and_a_cut_one_names_the_index() {
        let mut bundle = Vec::new();
        for entry in [b"a".as_slice(), b"", b"ccc"] {
            push_entry(&mut bundle, entry).unwrap();
        }
        let tile = Tile { level: None, number: 2, width: 3 };

        assert_eq!(split_entries(&tile, &bundle).unwrap(), [b"a".as_slice(), b"", b"ccc"]);
        let error = split_entries(&tile, &bundle[..bundle.len() - 1]).unwrap_err().to_string();
        assert!(error.contains("entry 514 is cut off"), "{error}");
    }
}
