//! Devices: what moves data between a guest and the world it was granted.
//!
//! A device is a virtio device (OASIS virtio 1.2) behind calls: [`DeviceRead`](crate::call::Call::DeviceRead)
//! and [`DeviceWrite`](crate::call::Call::DeviceWrite) reach its registers,
//! [`DeviceNotify`](crate::call::Call::DeviceNotify) is its doorbell, and its interrupt is an event line of its
//! own. Queues (split, `VIRTIO_F_VERSION_1`) and buffers lie in RAM, by guest addresses, outside the image's
//! text. A driver that breaks these rules finds `DEVICE_NEEDS_RESET` in the status, and the device does nothing
//! until it is reset. Buffers that a device has used before `DeviceNotify` answers raise the line as well, unless
//! the driver has set `VIRTQ_AVAIL_F_NO_INTERRUPT`. Devices are numbered from 0 in the order of the names in
//! [`InfoPage::devices`](crate::info::InfoPage::devices).

/// Most devices that a guest can have.
pub const DEVICES_MAX: u32 = 16;

/// The event line of device 0; those of the others lie below it, in their order.
pub const FIRST_DEVICE_LINE: u32 = 62;

/// Most entries of a queue.
pub const QUEUE_SIZE_MAX: u32 = 256;

/// Most bytes of all buffers of one request together. Descriptors that are indirect are not offered.
pub const REQUEST_MAX: u32 = 4 << 20;

/// The event line that a device raises when it has used buffers, or when its configuration or its status has
/// changed.
///
/// ```
/// assert_eq!(vcpu_abi::device::line(1), 61);
/// ```
pub const fn line(device: u32) -> u32 {
    FIRST_DEVICE_LINE - device
}

/// A register of a device. All hold 64 bits, of which the uppermost is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Register {
    /// Read: the virtio device type, a [`Kind`].
    Kind = 0,
    /// Read: the features that the device offers.
    Features = 1,
    /// Write: the features that the driver takes. Before it says `FEATURES_OK`.
    DriverFeatures = 2,
    /// Read, write: the device status as virtio defines it. Writing 0 resets the device.
    Status = 3,
    /// Write: the queue that the registers below are about.
    QueueSelect = 4,
    /// Read: the most entries it can have, a power of two, or 0 if there is no such queue.
    QueueSizeMax = 5,
    /// Write: how many entries it has, a power of two.
    QueueSize = 6,
    /// Write: address of the descriptor table.
    QueueDescriptors = 7,
    /// Write: address of the driver area (available ring).
    QueueDriver = 8,
    /// Write: address of the device area (used ring).
    QueueDevice = 9,
    /// Read, write: 1 when it is in use. Writing 0 takes it out of use.
    QueueReady = 10,
    /// Read: counts changes of the configuration.
    ConfigGeneration = 11,
}

impl Register {
    /// All registers.
    pub const ALL: [Register; 12] = [
        Register::Kind,
        Register::Features,
        Register::DriverFeatures,
        Register::Status,
        Register::QueueSelect,
        Register::QueueSizeMax,
        Register::QueueSize,
        Register::QueueDescriptors,
        Register::QueueDriver,
        Register::QueueDevice,
        Register::QueueReady,
        Register::ConfigGeneration,
    ];

    /// The register with this number, or `None` if there is none.
    ///
    /// ```
    /// use vcpu_abi::device::Register;
    /// assert_eq!(Register::from_number(3), Some(Register::Status));
    /// assert_eq!(Register::from_number(12), None);
    /// ```
    pub fn from_number(number: u64) -> Option<Register> {
        Self::ALL.into_iter().find(|register| *register as u64 == number)
    }
}

const _: () = {
    let mut index = 0;
    while index < Register::ALL.len() {
        assert!(Register::ALL[index] as usize == index);
        index += 1;
    }
    assert!(DEVICES_MAX <= FIRST_DEVICE_LINE);
};

/// The number of the register that holds the first four bytes of a device's configuration; the others follow,
/// one number a byte, four bytes each time it is read, little-endian, zero behind the end. Read only.
pub const CONFIG: u64 = 0x100;

/// Most bytes of a device's configuration.
pub const CONFIG_SIZE_MAX: u64 = 0x100;

/// Where the configuration of a console says, in four bytes behind what virtio defines, which of its streams
/// are closed: [`CONSOLE_INPUT_ENDED`] and [`CONSOLE_OUTPUT_CLOSED`]. A change raises the device's line.
pub const CONSOLE_CLOSED: u64 = 12;

/// The input has ended. A buffer that is used with no byte in it says so as well, once; later ones stay unused.
pub const CONSOLE_INPUT_ENDED: u32 = 1 << 0;

/// Nobody reads the output any more: it is dropped.
pub const CONSOLE_OUTPUT_CLOSED: u32 = 1 << 1;

/// What a device is, by its virtio device type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A block device: an image of a disk.
    Block = 2,
    /// A console: a stream of bytes in each direction.
    Console = 3,
    /// A source of entropy.
    Entropy = 4,
    /// A file system: a directory.
    FileSystem = 26,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Block, Kind::Console, Kind::Entropy, Kind::FileSystem];

    /// The kind with this number, or `None` if there is none.
    ///
    /// ```
    /// use vcpu_abi::device::Kind;
    /// assert_eq!(Kind::from_number(26), Some(Kind::FileSystem));
    /// assert_eq!(Kind::from_number(1), None);
    /// ```
    pub fn from_number(number: u64) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == number)
    }
}
