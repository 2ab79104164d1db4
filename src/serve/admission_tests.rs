//! Claims about who gives way to whom, by counts alone.

use super::*;

fn admission(most: usize, most_of_an_address: usize) -> Arc<Admission> {
    Arc::new(Admission::new(ConnectionLimits { most, most_of_an_address, ..ConnectionLimits::default() }))
}

fn is_open(connection: &Connection) -> bool {
    lock(&connection.0.admission.table).entries.contains_key(&connection.0.id)
}

/// Which of `connections` are open.
fn open(connections: &[Connection]) -> Vec<usize> {
    (0..connections.len()).filter(|&index| is_open(&connections[index])).collect()
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn there(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn a_new_connection_takes_the_place_of_the_one_that_has_been_idle_longest() {
    let admission = admission(3, 3);
    let mut connections: Vec<_> = (0..3).map(|_| admission.admit(HERE).unwrap()).collect();
    connections[0].enter(Phase::Reading);
    connections[0].enter(Phase::Idle);
    connections.push(admission.admit(HERE).unwrap());
    assert_eq!(open(&connections), [0, 2, 3], "the first has asked for something since");
    connections.push(admission.admit(HERE).unwrap());
    assert_eq!(open(&connections), [0, 3, 4]);
    assert_eq!(admission.counts(), ConnectionCounts { by_phase: [3, 0, 0, 0], num_closed: 2 });
    connections.clear();
    assert_eq!(admission.counts().by_phase, [0; 4]);
}

#[test]
fn idle_ones_go_first_then_slow_senders_then_those_who_do_not_read_and_the_served_ones_stay() {
    let admission = admission(4, 4);
    let mut connections: Vec<_> = (0..4).map(|_| admission.admit(HERE).unwrap()).collect();
    connections[0].enter(Phase::Working);
    connections[1].enter(Phase::Working);
    connections[1].set_blocked(true);
    connections[2].enter(Phase::Reading);
    assert_eq!(admission.counts().by_phase, [1, 1, 1, 1]);
    for expected in [vec![0, 1, 2, 4], vec![0, 1, 4, 5], vec![0, 4, 5, 6]] {
        connections.push(admission.admit(HERE).unwrap());
        connections.last().unwrap().enter(Phase::Working);
        assert_eq!(open(&connections), expected);
    }
    assert!(admission.admit(HERE).is_none(), "all are served");
    connections[4].set_blocked(true);
    connections[4].set_blocked(false);
    assert!(admission.admit(HERE).is_none(), "it reads again");
    assert!(!admission.make_room());
}

#[test]
fn an_address_keeps_to_its_share_and_leaves_the_rest_to_others() {
    let admission = admission(6, 4);
    let flood: Vec<_> = (0..50).map(|_| admission.admit(there(1)).unwrap()).collect();
    assert_eq!(open(&flood), [46, 47, 48, 49]);
    let others: Vec<_> = (2..5).map(|last| admission.admit(there(last)).unwrap()).collect();
    assert_eq!((open(&flood), open(&others)), (vec![47, 48, 49], vec![0, 1, 2]), "who has most gives way, though others are idle, too");
    flood[47..].iter().for_each(|connection| connection.enter(Phase::Working));
    let fourth = admission.admit(there(1)).unwrap();
    fourth.enter(Phase::Working);
    assert!(admission.admit(there(1)).is_none(), "all of its share are served");
    assert!(admission.admit(there(9)).is_some());
}

#[test]
fn sixty_four_bits_of_ipv6_are_one_address() {
    let parse = |text: &str| network_of(text.parse().unwrap());
    assert_eq!(parse("2001:db8:1:2:3:4:5:6"), parse("2001:db8:1:2::"));
    assert_ne!(parse("2001:db8:1:3::"), parse("2001:db8:1:2::"));
    assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
}

#[test]
fn the_places_of_a_server_leave_room_for_others() {
    let limits = ConnectionLimits::default().with_room_for(5000);
    assert_eq!((limits.most, limits.most_of_an_address), (10_000, 5000));
    let limits = ConnectionLimits::default().with_room_for(72);
    assert_eq!((limits.most, limits.most_of_an_address), (1024, 512));
}
