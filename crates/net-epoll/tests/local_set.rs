//! Tasks that stay on their thread.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
    time::Duration,
};

use common::yield_now;
use httpcore_net_epoll::{EventLoop, LocalSet};

#[test]
fn tasks_that_are_not_send_run_beside_each_other_and_yield() {
    let epoll = EventLoop::new().unwrap();
    let local = LocalSet::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    let outputs = epoll.block_on(local.run_until(async {
        let tasks: Vec<_> = (0..3)
            .map(|n| {
                let order = order.clone();
                local.spawn_local(async move {
                    for step in 0..2 {
                        order.borrow_mut().push((step, n));
                        yield_now().await;
                    }
                    Rc::new(n)
                })
            })
            .collect();
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(*task.await);
        }
        outputs
    }));
    assert_eq!(outputs, [0, 1, 2]);
    let expected = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
    assert_eq!(*order.borrow(), expected);
    assert_eq!(local.tasks(), 0);
}

#[test]
fn timers_and_tasks_of_the_loop_are_awaited_in_local_tasks() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let local = LocalSet::new();
    let sum = epoll.block_on(local.run_until(async {
        let task = local.spawn_local(async move {
            handle.sleep(Duration::from_millis(2)).await;
            let other = handle.spawn(async { 2 });
            other.await + 1
        });
        task.await
    }));
    assert_eq!(sum, 3);
}

#[test]
fn a_wake_from_another_thread_reaches_a_local_task() {
    let epoll = EventLoop::new().unwrap();
    let local = LocalSet::new();
    epoll.block_on(local.run_until(async {
        let task = local.spawn_local(async {
            let mut waking = None;
            std::future::poll_fn(|cx| {
                let waker = cx.waker().clone();
                if waking.is_some() {
                    return std::task::Poll::Ready(());
                }
                waking = Some(thread::spawn(move || waker.wake()));
                std::task::Poll::Pending
            })
            .await;
            waking.unwrap().join().unwrap();
        });
        task.await;
    }));
}

#[test]
fn a_task_spawned_before_or_between_runs_is_run_by_the_next() {
    let epoll = EventLoop::new().unwrap();
    let local = LocalSet::new();
    let count = Rc::new(Cell::new(0));
    for runs in 1..=3 {
        let own = count.clone();
        let task = local.spawn_local(async move { own.set(own.get() + 1) });
        assert_eq!(count.get(), runs - 1);
        epoll.block_on(local.run_until(task));
        assert_eq!(count.get(), runs);
    }
}

#[test]
fn a_dropped_task_and_a_dropped_set_drop_their_futures() {
    let epoll = EventLoop::new().unwrap();
    let local = LocalSet::new();
    let held = Rc::new(());
    let hold = || {
        let held = held.clone();
        local.spawn_local(async move {
            let _held = held;
            pending::<()>().await;
        })
    };
    let (cancelled, kept) = (hold(), hold());
    hold().detach();
    epoll.block_on(local.run_until(yield_now()));
    assert_eq!(Rc::strong_count(&held), 4);
    drop(cancelled);
    assert_eq!(Rc::strong_count(&held), 3);
    drop(local);
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(kept.is_finished());
    assert!(catch_unwind(AssertUnwindSafe(|| epoll.block_on(kept))).is_err());
}

#[test]
fn a_task_may_cancel_itself_and_spawn_others() {
    let epoll = EventLoop::new().unwrap();
    let local = Rc::new(LocalSet::new());
    let own = Rc::new(RefCell::new(None));
    let (slot, set) = (own.clone(), Rc::downgrade(&local));
    let task = local.spawn_local(async move {
        set.upgrade().unwrap().spawn_local(async {}).detach();
        drop(slot.borrow_mut().take());
        pending::<()>().await;
    });
    *own.borrow_mut() = Some(task);
    epoll.block_on(local.run_until(async {
        while local.tasks() > 0 {
            yield_now().await;
        }
    }));
}

#[test]
fn a_panic_reaches_the_awaiting_future_and_no_other_task() {
    let epoll = EventLoop::new().unwrap();
    let local = LocalSet::new();
    let panicking = local.spawn_local(async { panic!("on purpose") });
    let other = local.spawn_local(async { 5 });
    let awaited = catch_unwind(AssertUnwindSafe(|| {
        epoll.block_on(local.run_until(panicking));
    }));
    assert_eq!(
        awaited.unwrap_err().downcast_ref::<&str>(),
        Some(&"on purpose")
    );
    assert_eq!(epoll.block_on(local.run_until(other)), 5);
}

#[test]
fn local_tasks_run_under_another_executor() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let task = local.spawn_local(async { Rc::new(4) });
    assert_eq!(*runtime.block_on(local.run_until(task)), 4);
}
