//! `wasi:filesystem` within the directories that were granted, and no file anywhere else.
//!
//! What a path means is wasmtime-wasi's to say: it walks every path part by part within the directory it
//! begins at, so `..`, absolute paths and links that lead out are refused, also while somebody renames
//! things. A directory that was granted for reading stays so for everything below it. Here is what we add:
//!
//! - Work is done on the thread that calls, so that no other runtime is started; each operation is
//!   [paid for](super::work) and bounded.
//! - Only regular files and directories are opened: opening a pipe could wait for ever.
//! - A listing is read entry by entry, so a large directory costs no memory.
//! - Times of files are told only to plugins that were granted the clock: a fresh file's time is one.

use super::directories::Directories;
use super::no_waiting::at_once;
use super::work::{PATH, SYNC, Work};
use cap_std::fs::{Dir, FileType, ReadDir};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types as asynchronous;
use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor as Async;
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, Filesize, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

/// The files of one instance.
pub(super) struct Files<'a> {
    pub(super) context: &'a mut WasiFilesystemCtx,
    pub(super) table: &'a mut ResourceTable,
    pub(super) directories: &'a Directories,
    pub(super) work: &'a mut Work,
    pub(super) has_clock: bool,
}

/// What is left of a directory's entries.
struct Listing(ReadDir);

impl HasData for Files<'static> {
    type Data<'a> = Files<'a>;
}

impl Files<'_> {
    fn view(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: self.context, table: self.table }
    }

    /// Pays for an operation that costs `more` and carries `bytes`.
    fn charge(&mut self, bytes: usize, more: u64) -> FsResult<()> {
        self.work.charge(bytes as u64, more).map_err(FsError::trap)
    }

    /// Whether there is room for one more open thing.
    fn check_room(&self) -> FsResult<()> {
        match self.work.may_open() {
            true => Ok(()),
            false => Err(asynchronous::ErrorCode::InsufficientMemory.into()),
        }
    }

    fn opened<T: 'static>(&mut self, opened: Resource<T>) -> Resource<T> {
        self.work.opened(opened.rep());
        opened
    }

    fn shown(&self, stat: asynchronous::DescriptorStat) -> DescriptorStat {
        let mut stat = DescriptorStat::from(stat);
        if !self.has_clock {
            stat.data_access_timestamp = None;
            stat.data_modification_timestamp = None;
            stat.status_change_timestamp = None;
        }
        stat
    }
}

/// What an operation answers that was told to work at once.
fn done<T>(operation: impl Future<Output = FsResult<T>>) -> FsResult<T> {
    at_once(operation).map_err(FsError::trap)?
}

impl preopens::Host for Files<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.work.charge(0, PATH)?;
        let directories =
            self.directories.0.iter().map(|(dir, name)| {
                Ok((self.table.push(Descriptor::Dir(dir.clone()))?, name.clone()))
            });
        directories.collect()
    }
}

impl types::Host for Files<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        types::Host::convert_error_code(&mut self.view(), error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.view(), error)
    }
}

impl types::HostDescriptor for Files<'_> {
    fn advise(
        &mut self,
        file: Resource<Descriptor>,
        offset: Filesize,
        len: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.charge(0, PATH)?;
        done(Async::advise(&mut self.view(), file, offset, len, advice.into()))
    }

    fn sync_data(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        self.charge(0, SYNC)?;
        done(Async::sync_data(&mut self.view(), file))
    }

    fn sync(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        self.charge(0, SYNC)?;
        done(Async::sync(&mut self.view(), file))
    }

    fn get_flags(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.charge(0, PATH)?;
        done(Async::get_flags(&mut self.view(), file)).map(Into::into)
    }

    fn get_type(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorType> {
        self.charge(0, PATH)?;
        done(Async::get_type(&mut self.view(), file)).map(Into::into)
    }

    fn set_size(&mut self, file: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        self.charge(0, PATH)?;
        done(Async::set_size(&mut self.view(), file, size))
    }

    fn set_times(
        &mut self,
        file: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.charge(0, PATH)?;
        done(Async::set_times(&mut self.view(), file, accessed.into(), modified.into()))
    }

    fn read(
        &mut self,
        file: Resource<Descriptor>,
        len: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.charge(0, PATH)?;
        let read = done(Async::read(&mut self.view(), file, len, offset))?;
        self.charge(read.0.len(), 0)?;
        Ok(read)
    }

    fn write(
        &mut self,
        file: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        self.charge(bytes.len(), PATH)?;
        done(Async::write(&mut self.view(), file, bytes, offset))
    }

    fn read_directory(
        &mut self,
        directory: Resource<Descriptor>,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        self.charge(0, PATH)?;
        self.check_room()?;
        let Descriptor::Dir(directory) = self.table.get(&directory)? else {
            return Err(asynchronous::ErrorCode::NotDirectory.into());
        };
        let entries = Dir::from_std_file(directory.dir.try_clone()?).entries()?;
        let listing = self.table.push(Listing(entries))?;
        Ok(self.opened(Resource::new_own(listing.rep())))
    }

    fn create_directory_at(&mut self, at: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.charge(path.len(), PATH)?;
        done(Async::create_directory_at(&mut self.view(), at, path))
    }

    fn stat(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.charge(0, PATH)?;
        let stat = done(Async::stat(&mut self.view(), file))?;
        Ok(self.shown(stat))
    }

    fn stat_at(
        &mut self,
        at: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        self.charge(path.len(), PATH)?;
        let stat = done(Async::stat_at(&mut self.view(), at, flags.into(), path))?;
        Ok(self.shown(stat))
    }

    fn set_times_at(
        &mut self,
        at: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.charge(path.len(), PATH)?;
        let (accessed, modified) = (accessed.into(), modified.into());
        done(Async::set_times_at(&mut self.view(), at, flags.into(), path, accessed, modified))
    }

    fn link_at(
        &mut self,
        at: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        new_at: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.charge(path.len() + new_path.len(), PATH)?;
        done(Async::link_at(&mut self.view(), at, flags.into(), path, new_at, new_path))
    }

    fn open_at(
        &mut self,
        at: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        self.charge(path.len(), 2 * PATH)?;
        self.check_room()?;
        let same = Resource::new_borrow(at.rep());
        let stat = done(Async::stat_at(&mut self.view(), same, path_flags.into(), path.clone()));
        // What is not there yet may be created below, and links that are not followed are refused there.
        if let Ok(stat) = stat
            && !matches!(
                stat.type_,
                asynchronous::DescriptorType::RegularFile
                    | asynchronous::DescriptorType::Directory
                    | asynchronous::DescriptorType::SymbolicLink
            )
        {
            return Err(asynchronous::ErrorCode::NotPermitted.into());
        }
        let (open_flags, flags) = (open_flags.into(), flags.into());
        let opened =
            done(Async::open_at(&mut self.view(), at, path_flags.into(), path, open_flags, flags))?;
        Ok(self.opened(opened))
    }

    fn drop(&mut self, file: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.work.closed(file.rep());
        Async::drop(&mut self.view(), file)
    }

    fn readlink_at(&mut self, at: Resource<Descriptor>, path: String) -> FsResult<String> {
        self.charge(path.len(), PATH)?;
        done(Async::readlink_at(&mut self.view(), at, path))
    }

    fn remove_directory_at(&mut self, at: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.charge(path.len(), PATH)?;
        done(Async::remove_directory_at(&mut self.view(), at, path))
    }

    fn rename_at(
        &mut self,
        at: Resource<Descriptor>,
        path: String,
        new_at: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.charge(path.len() + new_path.len(), PATH)?;
        done(Async::rename_at(&mut self.view(), at, path, new_at, new_path))
    }

    fn symlink_at(&mut self, at: Resource<Descriptor>, to: String, path: String) -> FsResult<()> {
        self.charge(to.len() + path.len(), PATH)?;
        done(Async::symlink_at(&mut self.view(), at, to, path))
    }

    fn unlink_file_at(&mut self, at: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.charge(path.len(), PATH)?;
        done(Async::unlink_file_at(&mut self.view(), at, path))
    }

    fn read_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.charge(0, 0)?;
        self.check_room()?;
        let stream = Async::read_via_stream(&mut self.view(), file, offset)?;
        Ok(self.opened(stream))
    }

    fn write_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.charge(0, 0)?;
        self.check_room()?;
        let stream = Async::write_via_stream(&mut self.view(), file, offset)?;
        Ok(self.opened(stream))
    }

    fn append_via_stream(
        &mut self,
        file: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.charge(0, 0)?;
        self.check_room()?;
        let stream = Async::append_via_stream(&mut self.view(), file)?;
        Ok(self.opened(stream))
    }

    fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        self.work.charge(0, PATH)?;
        at_once(Async::is_same_object(&mut self.view(), one, other))?
    }

    fn metadata_hash(&mut self, file: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.charge(0, PATH)?;
        done(Async::metadata_hash(&mut self.view(), file)).map(Into::into)
    }

    fn metadata_hash_at(
        &mut self,
        at: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.charge(path.len(), PATH)?;
        done(Async::metadata_hash_at(&mut self.view(), at, flags.into(), path)).map(Into::into)
    }
}

impl types::HostDirectoryEntryStream for Files<'_> {
    fn read_directory_entry(
        &mut self,
        listing: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.charge(0, 0)?;
        let listing = Resource::<Listing>::new_borrow(listing.rep());
        let Some(entry) = self.table.get_mut(&listing)?.0.next() else { return Ok(None) };
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| asynchronous::ErrorCode::IllegalByteSequence)?;
        self.charge(name.len(), PATH)?;
        Ok(Some(DirectoryEntry { type_: descriptor_type(entry.file_type()?), name }))
    }

    fn drop(&mut self, listing: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.work.closed(listing.rep());
        self.table.delete(Resource::<Listing>::new_own(listing.rep()))?;
        Ok(())
    }
}

fn descriptor_type(found: FileType) -> DescriptorType {
    if found.is_file() {
        DescriptorType::RegularFile
    } else if found.is_dir() {
        DescriptorType::Directory
    } else if found.is_symlink() {
        DescriptorType::SymbolicLink
    } else {
        DescriptorType::Unknown
    }
}
