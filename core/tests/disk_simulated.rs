//! The simulated disk.
#![forbid(unsafe_code)]

use duramen::io::{Directory, Disk, File, SimulatedDisk};
use std::sync::Arc;
use std::time::Instant;

fn directory(disk: &SimulatedDisk) -> Arc<dyn Directory> {
    disk.open_directory("/store".as_ref(), true).unwrap()
}

#[test]
fn speed() {
    let disk = SimulatedDisk::new(1);
    let dir = directory(&disk);
    let mut files: Vec<Arc<dyn File>> = Vec::new();
    for n in 0..8 {
        let f = dir.create(&format!("wal-{n}")).unwrap();
        f.prewrite(256 << 10).unwrap();
        f.write_all_at(0, &vec![7; 256 << 10]).unwrap();
        f.sync_data().unwrap();
        files.push(f);
    }
    dir.sync().unwrap();
    files[0].write_all_at(4096, &[1; 8192]).unwrap();
    files[1].write_all_at(4096, &[1; 100]).unwrap();
    let t = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(disk.crash_points());
    }
    eprintln!("crash_points {:?}", t.elapsed() / 1000);
    let c = disk.crash_points();
    eprintln!("{c}");
    let t = Instant::now();
    let mut n = 0;
    for o in c.outcomes(10_000, 3) {
        std::hint::black_box(c.disk_after(&o));
        n += 1;
    }
    eprintln!("disk_after {:?}", t.elapsed() / n);
    let t = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(disk.kill());
    }
    eprintln!("kill {:?}", t.elapsed() / 1000);
    eprintln!("{}", disk.injections());
}
