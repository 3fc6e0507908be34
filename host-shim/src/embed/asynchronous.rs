//! Sandboxes for programs that use `tokio`.

use super::{CallError, Sandbox, SandboxBuilder};
use crate::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::{JoinError, spawn_blocking};

/// A sandbox whose calls are futures. Clones are the same sandbox, and their calls come one after another, in the
/// order in which they were made.
///
/// The guest runs on a thread of the runtime for blocking work, so it keeps no other task from going on.
///
/// **Cancelling.** Who drops the future of a call that waits for its turn takes it back. A guest that has begun
/// cannot be stopped without being lost: the call goes on to its end or its deadline, its result is dropped, and
/// the next call comes after it. So give sandboxes a [deadline](SandboxBuilder::call_deadline).
///
/// ```no_run
/// # async fn run(image: vcpu_host::Image) -> Result<(), Box<dyn std::error::Error>> {
/// use vcpu_host::{Sandbox, embed::AsyncSandbox};
///
/// let sandbox = AsyncSandbox::build(Sandbox::builder(&image)).await?;
/// let sum: u32 = sandbox.call("add", &(1, 2)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncSandbox {
    sandbox: Arc<Mutex<Sandbox>>,
}

impl From<Sandbox> for AsyncSandbox {
    fn from(sandbox: Sandbox) -> AsyncSandbox {
        AsyncSandbox { sandbox: Arc::new(Mutex::new(sandbox)) }
    }
}

impl AsyncSandbox {
    /// As [`SandboxBuilder::build`].
    ///
    /// # Errors
    ///
    /// As [`SandboxBuilder::build`].
    ///
    /// # Panics
    ///
    /// Outside of a `tokio` runtime.
    pub async fn build(builder: SandboxBuilder) -> Result<AsyncSandbox, Error> {
        let built = spawn_blocking(move || builder.build()).await.map_err(lost)?;
        Ok(AsyncSandbox::from(built?))
    }

    /// As [`Sandbox::call`].
    ///
    /// # Errors
    ///
    /// As [`Sandbox::call`].
    ///
    /// # Panics
    ///
    /// Outside of a `tokio` runtime.
    pub async fn call<A, R>(&self, name: &str, argument: &A) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let mut sandbox = self.sandbox.clone().lock_owned().await;
        let mut result = sandbox.prepare(name, argument);
        if result.is_ok() {
            let function = name.to_owned();
            (sandbox, result) = blocking(sandbox, move |sandbox| sandbox.exchange(&function)).await?;
        }
        sandbox.conclude(name, result)
    }

    /// Does something with the sandbox, once it is its turn, on a thread for blocking work.
    ///
    /// # Errors
    ///
    /// If the runtime shuts down.
    ///
    /// # Panics
    ///
    /// If `action` does, and outside of a `tokio` runtime.
    pub async fn with<R: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Sandbox) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let sandbox = self.sandbox.clone().lock_owned().await;
        Ok(blocking(sandbox, action).await?.1)
    }
}

/// Does something that takes its time, and keeps the sandbox locked until it is done, whoever waits for it.
async fn blocking<R: Send + 'static>(
    mut sandbox: OwnedMutexGuard<Sandbox>,
    action: impl FnOnce(&mut Sandbox) -> R + Send + 'static,
) -> Result<(OwnedMutexGuard<Sandbox>, R), Error> {
    let task = move || {
        let result = action(&mut sandbox);
        (sandbox, result)
    };
    spawn_blocking(task).await.map_err(lost)
}

/// What became of a task that gave no result.
fn lost(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Error::system("wait for a sandbox", io::Error::other(error)),
    }
}
