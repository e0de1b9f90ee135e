//! Servers that speak the vendors' wire formats, for tests. They must never speak to a vendor.
