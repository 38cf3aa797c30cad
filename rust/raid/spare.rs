// SPDX-License-Identifier: GPL-2.0

//! When a device that was rebuilt becomes one that is in sync.

/// The flags of a device, which others change at any time: who fails it says that it is faulty, and then
/// that it is not in sync.
pub(crate) trait Flags {
    /// Whether it has failed.
    fn is_faulty(&self) -> bool;
    /// Says that it is in sync, and returns whether that was said before.
    fn set_in_sync(&self) -> bool;
    /// Says that it is not.
    fn clear_in_sync(&self);
}

/// Has a rebuilt device count as in sync; true if it does from now on. One that fails meanwhile does
/// not, or it would be both: md does not remove what is in sync.
pub(crate) fn activate(device: &impl Flags) -> bool {
    if device.is_faulty() || device.set_in_sync() {
        return false;
    }
    if device.is_faulty() {
        device.clear_in_sync();
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A device that is failed in two steps, each before a certain use of its flags.
    struct Failing {
        uses: Cell<u32>,
        at: (u32, u32),
        faulty: Cell<bool>,
        in_sync: Cell<bool>,
    }

    impl Failing {
        fn meanwhile(&self) {
            let n = self.uses.replace(self.uses.get() + 1);
            if self.at.0 == n {
                self.faulty.set(true);
            }
            if self.at.1 == n {
                self.in_sync.set(false);
            }
        }
    }

    impl Flags for Failing {
        fn is_faulty(&self) -> bool {
            self.meanwhile();
            self.faulty.get()
        }

        fn set_in_sync(&self) -> bool {
            self.meanwhile();
            self.in_sync.replace(true)
        }

        fn clear_in_sync(&self) {
            self.meanwhile();
            self.in_sync.set(false);
        }
    }

    #[test]
    fn nothing_is_faulty_and_in_sync() {
        const LAST: u32 = 9;
        for first in 0..=LAST {
            for second in first..=LAST {
                let device = Failing {
                    uses: Cell::new(0),
                    at: (first, second),
                    faulty: Cell::new(false),
                    in_sync: Cell::new(false),
                };
                let active = activate(&device);
                let failed = device.faulty.get();
                while device.uses.get() <= LAST {
                    device.meanwhile();
                }
                assert!(!device.in_sync.get(), "failed at {first} and {second}");
                assert!(!active || !failed, "failed at {first} and {second}");
            }
        }
        let device = Failing {
            uses: Cell::new(LAST + 1),
            at: (0, 0),
            faulty: Cell::new(false),
            in_sync: Cell::new(false),
        };
        assert!(activate(&device) && device.in_sync.get());
        assert!(!activate(&device), "it was already");
    }
}
