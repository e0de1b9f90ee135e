//! Calls that a confined program may not make, as filters for the kernel.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that reach the kernel's insides, other processes, or around the other filters. Refused as not permitted.
const INSIDES: [libc::c_long; 42] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Flags of `clone` that make namespaces.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// The second way to say each call on x86-64 (x32), by which a filter of numbers would be passed by.
#[cfg(target_arch = "x86_64")]
const OTHER_WAY: i64 = 0x4000_0000;

/// The filters, in the order in which they are put in force.
pub(crate) fn filters(offline: bool) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut denied: Rules = INSIDES.iter().map(|call| (*call, Vec::new())).collect();
    if offline {
        // Whoever cannot make a socket reaches nobody; pairs for talking to oneself are another call.
        denied.insert(libc::SYS_socket, Vec::new());
    }
    let makes = |flag: &u64| {
        let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(*flag), *flag)?;
        SeccompRule::new(vec![is_set])
    };
    denied.insert(libc::SYS_clone, NAMESPACES.iter().map(makes).collect::<Result<_, _>>()?);
    // The arguments of the newer call cannot be looked at: whoever makes it is told to use the older.
    let newer: Rules = [(libc::SYS_clone3, Vec::new())].into();
    Ok(vec![filter(denied, libc::EPERM)?, filter(newer, libc::ENOSYS)?])
}

fn filter(rules: Rules, refusal: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    #[cfg(target_arch = "x86_64")]
    let rules = both_ways(rules);
    let refused = SeccompAction::Errno(refusal.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()
}

#[cfg(target_arch = "x86_64")]
fn both_ways(rules: Rules) -> Rules {
    let others: Vec<_> = rules.iter().map(|(call, rules)| (call | OTHER_WAY, rules.clone())).collect();
    // Calls that have a number of their own there, `ptrace` and `execve` among them: nothing of today uses them.
    let own = (512..=547).map(|call| (call | OTHER_WAY, Vec::new()));
    rules.into_iter().chain(others).chain(own).collect()
}
