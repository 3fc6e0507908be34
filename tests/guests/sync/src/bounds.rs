//! Which types may be sent to other threads, and shared between them: exactly those of `std`.
//!
//! The compiler checks it: what may not is ambiguous below if it could.

use core::cell::Cell;
use libvcpu::prelude::*;
use libvcpu::sync::mpsc::{Receiver, SyncSender};
use libvcpu::sync::{
    Channel, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard,
    SemaphorePermit,
};
use libvcpu::time::Timer;

/// Can be sent, but not shared.
type Sent = Cell<u8>;

/// Can be neither.
type Neither = *const u8;

struct Yes;

trait NotSend<A> {
    fn check() {}
}

impl<T: ?Sized> NotSend<()> for T {}
impl<T: ?Sized + Send> NotSend<Yes> for T {}

trait NotSync<A> {
    fn check() {}
}

impl<T: ?Sized> NotSync<()> for T {}
impl<T: ?Sized + Sync> NotSync<Yes> for T {}

const fn send<T: ?Sized + Send>() {}
const fn sync<T: ?Sized + Sync>() {}

pub(crate) fn bounds() {
    sync::<Mutex<Sent>>();
    send::<Mutex<Sent>>();
    <Mutex<Neither> as NotSync<_>>::check();
    <Mutex<Neither> as NotSend<_>>::check();
    sync::<MutexGuard<'_, u8>>();
    <MutexGuard<'_, u8> as NotSend<_>>::check();
    <MutexGuard<'_, Sent> as NotSync<_>>::check();
    sync::<RwLock<u8>>();
    send::<RwLock<Sent>>();
    <RwLock<Sent> as NotSync<_>>::check();
    sync::<(RwLockReadGuard<'_, u8>, RwLockWriteGuard<'_, u8>)>();
    <RwLockReadGuard<'_, u8> as NotSend<_>>::check();
    <RwLockReadGuard<'_, Sent> as NotSync<_>>::check();
    <RwLockWriteGuard<'_, u8> as NotSend<_>>::check();
    <RwLockWriteGuard<'_, Sent> as NotSync<_>>::check();
    sync::<(Once, Condvar, Timer, OnceLock<u8>, LazyLock<u8, Sent>)>();
    send::<(Once, Condvar, Timer, OnceLock<Sent>, LazyLock<Sent, Sent>)>();
    <OnceLock<Sent> as NotSync<_>>::check();
    <LazyLock<Sent> as NotSync<_>>::check();
    <LazyLock<u8, Neither> as NotSync<_>>::check();
    sync::<Channel<Sent, 1>>();
    send::<Channel<Sent, 1>>();
    <Channel<Neither, 1> as NotSync<_>>::check();
    sync::<SyncSender<Sent>>();
    send::<(SyncSender<Sent>, Receiver<Sent>)>();
    <Receiver<u8> as NotSync<_>>::check();
    <SyncSender<Neither> as NotSend<_>>::check();
    <Receiver<Neither> as NotSend<_>>::check();
    send::<SemaphorePermit<'_>>();
    println!("as in std");
}
