//! a hundred changes of one roster by two resources at once. Every push has a version of its own, and all
//! resources hear them in the same order (RFC 6121 §2.1.6, §2.6.3).

use std::collections::BTreeSet;

use tests::client::{Client, Heard, Login, password_of};
use tests::deadline::within;
use tests::house::House;
use tests::stage::Server;

/// How many changes each resource makes.
const CHANGES: usize = 50;

const ROSTER_NS: &str = "jabber:iq:roster";

/// What one resource heard: versions in order, the contact of each.
type Pushes = Vec<(String, String)>;

/// Lets both change the roster and compares what they heard.
pub async fn in_one_order() -> Result<(), String> {
    let house = House::start("").await?;
    house
        .register("alice@localhost", &password_of("alice"))
        .await?;
    let desk = enter(&house, "desk").await?;
    let phone = enter(&house, "phone").await?;
    let (desk, phone) = tokio::try_join!(change(desk, "desk"), change(phone, "phone"))?;
    if desk != phone {
        return Err(format!("the desk heard {desk:?}, the phone {phone:?}"));
    }
    let versions: BTreeSet<&str> = desk.iter().map(|(version, _)| version.as_str()).collect();
    if versions.len() != 2 * CHANGES {
        return Err(format!("{} versions of {}", versions.len(), 2 * CHANGES));
    }
    match within(house.server().stop()).await {
        Ok(Ok(())) => Ok(()),
        _ => Err("the server did not stop in order".to_owned()),
    }
}

async fn enter(house: &House, resource: &str) -> Result<Client, String> {
    let login = Login::new("alice", "localhost", resource);
    let said = async {
        let mut client = Client::connect(house, &login).await?;
        client.fetch_roster().await?;
        Ok::<_, tests::wire::Broken>(client)
    };
    said.await.map_err(|broken| broken.to_string())
}

/// Makes its changes without waiting for answers, hears the pushes of all, and leaves.
async fn change(mut client: Client, name: &str) -> Result<Pushes, String> {
    let sets: String = (0..CHANGES)
        .map(|number| {
            format!(
                "<iq type='set' id='{name}-{number}'><query xmlns='{ROSTER_NS}'>\
                 <item jid='{name}-{number}@b.example'/></query></iq>"
            )
        })
        .collect();
    client
        .send(&sets)
        .await
        .map_err(|broken| broken.to_string())?;
    let (mut pushes, mut answers) = (Pushes::new(), 0);
    while pushes.len() < 2 * CHANGES || answers < CHANGES {
        let heard = client.hear().await.map_err(|broken| broken.to_string())?;
        let Heard::Element(element) = heard else {
            return Err(format!("{name}: the stream is over"));
        };
        match element.child(ROSTER_NS, "query") {
            Some(query) if element.attr("type") == Some("set") => {
                let item = query.child(ROSTER_NS, "item");
                let version = query.attr("ver").ok_or("a push without a version")?;
                let jid = item.and_then(|item| item.attr("jid")).unwrap_or_default();
                pushes.push((version.to_owned(), jid.to_owned()));
            }
            _ if element.attr("type") == Some("result") => answers += 1,
            _ => return Err(format!("{name} hears {element}")),
        }
    }
    Ok(pushes)
}
