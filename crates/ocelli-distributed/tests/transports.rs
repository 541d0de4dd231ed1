//! What every transport promises, with threads and over TCP; and what TCP does with strangers and losses.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use ocelli_distributed::{Error, Result, Tcp, TcpOptions, Threads, Transport};

/// An address that nothing listens on.
fn address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn options(address: &str, rank: usize, size: usize) -> TcpOptions {
    TcpOptions { join_timeout: Duration::from_secs(20), ..TcpOptions::new(address, rank, size, "a token") }
}

/// Runs the same function as each process of a job, and returns what each gave.
fn with_threads<T: Send>(size: usize, run: impl Fn(&mut dyn Transport) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let transports = Threads::of(size).into_iter();
        let threads: Vec<_> = transports
            .map(|mut own| {
                scope.spawn({
                    let run = &run;
                    move || run(&mut own)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn with_tcp<T: Send>(size: usize, run: impl Fn(&mut dyn Transport) -> T + Sync) -> Vec<T> {
    let address = address();
    // No process ends while another is still joining.
    let all_are_here = Barrier::new(size);
    std::thread::scope(|scope| {
        let start = |rank| {
            let (run, address, all_are_here) = (&run, &address, &all_are_here);
            scope.spawn(move || {
                let mut tcp = Tcp::join(&options(address, rank, size)).unwrap();
                all_are_here.wait();
                run(&mut tcp)
            })
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Bytes that one process has for another, of lengths from nothing to more than a socket's buffers.
fn bytes(from: usize, to: usize) -> Vec<u8> {
    let length = [0, 1, 1023, 1024, 300_000, 5_000_000][(3 * from + 5 * to) % 6];
    (0..length).map(|at| (at * 31 + from * 7 + to) as u8).collect()
}

fn every_operation(transport: &mut dyn Transport) {
    let (rank, size) = (transport.rank(), transport.size());
    for _ in 0..3 {
        let gathered = transport.all_gather(&bytes(rank, 0)).unwrap();
        assert!(gathered == (0..size).map(|from| bytes(from, 0)).collect::<Vec<_>>());
        let received = transport.all_to_all((0..size).map(|to| bytes(rank, to)).collect()).unwrap();
        assert!(received == (0..size).map(|from| bytes(from, rank)).collect::<Vec<_>>());
        for root in 0..size {
            assert!(transport.broadcast(root, &bytes(rank, 9)).unwrap() == bytes(root, 9));
        }
        transport.barrier().unwrap();
        transport.check().unwrap();
    }
    transport.finish().unwrap();
}

#[test]
fn every_process_gets_what_the_others_sent() {
    for size in [1, 2, 3, 5] {
        with_threads(size, every_operation);
        with_tcp(size, every_operation);
    }
}

#[test]
fn an_error_of_one_ends_all_with_its_message() {
    let run = |transport: &mut dyn Transport| -> Result<()> {
        if transport.rank() == 2 {
            transport.abort("photos/7.jpg is not readable");
            return Ok(());
        }
        loop {
            transport.barrier()?;
        }
    };
    for results in [with_threads(4, run), with_tcp(4, run)] {
        for rank in [0, 1, 3] {
            let error = results[rank].as_ref().unwrap_err();
            assert!(matches!(error, Error::Aborted { rank: 2, .. }), "{error}");
            assert!(error.to_string().ends_with(": photos/7.jpg is not readable"), "{error}");
        }
    }
}

#[test]
fn a_process_that_ends_without_leaving_is_lost() {
    let run = |transport: &mut dyn Transport| -> Result<()> {
        if transport.rank() == 1 {
            return Ok(());
        }
        transport.barrier()?;
        transport.barrier()
    };
    for results in [with_threads(3, run), with_tcp(3, run)] {
        for rank in [0, 2] {
            let error = results[rank].as_ref().unwrap_err();
            assert!(matches!(error, Error::Lost { rank: 1, .. }), "{error}");
        }
    }
}

#[test]
fn a_loss_is_noticed_while_computing() {
    let run = |transport: &mut dyn Transport| {
        if transport.rank() == 1 {
            return true;
        }
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            transport.check().is_err()
        })
    };
    assert_eq!(with_tcp(3, run), [true; 3]);
}

#[test]
fn processes_at_different_operations_are_told_apart() {
    let run = |transport: &mut dyn Transport| match transport.rank() {
        1 => transport.all_to_all(vec![Vec::new(); 2]).map(|_| ()),
        _ => transport.barrier(),
    };
    let results = with_tcp(2, run);
    let error = results[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("rank 1") && error.contains("all-to-all number 1"), "{error}");
    assert!(results[1].is_err());
}

/// The process that the next test kills, and stops.
#[test]
#[ignore = "run by other tests, as a process of its own"]
fn another_process() {
    let Ok(address) = std::env::var("OCELLI_TEST_ADDRESS") else { return };
    let mut transport = Tcp::join(&options(&address, 1, 2)).unwrap();
    while transport.barrier().is_ok() {}
}

#[test]
#[cfg(unix)]
fn a_killed_process_and_one_that_hangs_are_noticed_within_seconds() {
    for (signal, reason) in [("KILL", "connection was closed"), ("STOP", "nothing was heard of it for 2 s")] {
        let address = address();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["another_process", "--exact", "--ignored"])
            .env("OCELLI_TEST_ADDRESS", &address)
            .spawn()
            .unwrap();
        let options = TcpOptions { lost_after: Duration::from_secs(2), ..options(&address, 0, 2) };
        let mut transport = Tcp::join(&options).unwrap();
        for _ in 0..10 {
            transport.barrier().unwrap();
        }
        let kill = |signal: &str| {
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        };
        kill(signal);
        let error = loop {
            if let Err(error) = transport.barrier() {
                break error.to_string();
            }
        };
        kill("KILL");
        child.wait().unwrap();
        assert!(error.starts_with("lost rank 1 on ") && error.contains(reason), "{error}");
    }
}

#[test]
fn who_does_not_belong_is_refused_with_the_reason() {
    let address = address();
    let join = |rank: usize, size: usize, token: &str| {
        let token = token.to_owned();
        Tcp::join(&TcpOptions { token, ..options(&address, rank, size) }).map(|mut tcp| tcp.finish())
    };
    let refused = |rank, size, token| join(rank, size, token).unwrap_err().to_string();
    std::thread::scope(|scope| {
        let zero = scope.spawn(|| join(0, 3, "a token"));
        assert!(refused(1, 3, "another token").contains("token"));
        assert!(refused(1, 4, "a token").contains("rank 0 expects 3 processes, this one 4"));
        let one = scope.spawn(|| join(1, 3, "a token"));
        // Whichever of the two is first.
        let other = scope.spawn(|| join(1, 3, "a token"));
        while !(one.is_finished() || other.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let two = join(2, 3, "a token");
        let results = [one.join().unwrap(), other.join().unwrap()];
        let (joined, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(|result| result.is_ok());
        assert_eq!((joined.len(), refused.len()), (1, 1));
        let reason = refused.into_iter().next().unwrap().unwrap_err().to_string();
        assert!(reason.contains("rank 1 has already joined"), "{reason}");
        for result in [zero.join().unwrap(), two] {
            result.unwrap().unwrap();
        }
    });
    assert!(matches!(Tcp::join(&options(&address, 3, 3)), Err(Error::Setting { .. })));
    assert!(matches!(Tcp::join(&TcpOptions::new(&address, 0, 1, "")), Err(Error::Setting { .. })));
}

#[test]
fn strangers_neither_join_nor_keep_others_out() {
    let address = address();
    std::thread::scope(|scope| {
        let zero = scope.spawn(|| Tcp::join(&options(&address, 0, 2)).unwrap().finish());
        let connect = || loop {
            match TcpStream::connect(&address) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        // More that say nothing than are served at a time, and some that say something.
        let silent: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
        drop(silent);
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 500], &[255; 5000]] {
            let _ = connect().write_all(garbage);
        }
        Tcp::join(&options(&address, 1, 2)).unwrap().finish().unwrap();
        zero.join().unwrap().unwrap();
    });
}

#[test]
fn a_server_of_something_else_is_not_rank_0() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example.org ready\r\n").unwrap();
        let _ = stream.read(&mut [0; 64]);
    });
    let error = Tcp::join(&options(&address, 1, 2)).err().unwrap().to_string();
    server.join().unwrap();
    assert!(error.contains("something else answers"), "{error}");
}

#[test]
fn missing_processes_are_named() {
    let start = Instant::now();
    let address = address();
    let options = TcpOptions { join_timeout: Duration::from_millis(300), ..options(&address, 0, 4) };
    let error = Tcp::join(&options).err().unwrap().to_string();
    assert!(error.contains("rank 1, 2, 3 did not join"), "{error}");
    let alone = Tcp::join(&TcpOptions { rank: 1, ..options }).err().unwrap().to_string();
    assert!(alone.contains("Rank 0 must be started"), "{alone}");
    assert!(start.elapsed() < Duration::from_secs(60), "it waits no longer than it was told to");
}

#[test]
fn processes_that_join_early_wait_for_the_last_one() {
    let address = address();
    let of = |rank: usize| TcpOptions { lost_after: Duration::from_secs(2), ..options(&address, rank, 3) };
    std::thread::scope(|scope| {
        let join = |rank: usize| {
            let options = of(rank);
            // Much later than others would be lost.
            std::thread::sleep(if rank == 2 { Duration::from_secs(4) } else { Duration::ZERO });
            let mut transport = Tcp::join(&options).unwrap();
            every_operation(&mut transport);
        };
        let started: Vec<_> = (0..3).map(|rank| scope.spawn(move || join(rank))).collect();
        started.into_iter().for_each(|process| process.join().unwrap());
    });
    // One that has joined is told where rank 0 gives up.
    let address = self::address();
    let of = |rank: usize| TcpOptions { join_timeout: Duration::from_secs(3), ..options(&address, rank, 3) };
    let errors: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..2).map(|rank| scope.spawn(move || Tcp::join(&of(rank)))).collect();
        let results = started.into_iter().map(|process| process.join().unwrap());
        results.map(|result| result.err().unwrap().to_string()).collect()
    });
    assert!(errors[0].contains("rank 2 did not join"), "{errors:?}");
    assert!(errors[1].contains("has ended before all processes had joined"), "{errors:?}");
}
