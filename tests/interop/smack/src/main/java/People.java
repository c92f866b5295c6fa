import java.io.FileInputStream;
import java.io.InputStream;
import java.net.InetAddress;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.jivesoftware.smack.ConnectionConfiguration.SecurityMode;
import org.jivesoftware.smack.XMPPException;
import org.jivesoftware.smack.chat2.ChatManager;
import org.jivesoftware.smack.filter.OrFilter;
import org.jivesoftware.smack.filter.StanzaTypeFilter;
import org.jivesoftware.smack.packet.Message;
import org.jivesoftware.smack.packet.Presence;
import org.jivesoftware.smack.packet.Stanza;
import org.jivesoftware.smack.packet.StanzaError;
import org.jivesoftware.smack.roster.Roster;
import org.jivesoftware.smack.roster.RosterEntry;
import org.jivesoftware.smack.roster.packet.RosterPacket.ItemType;
import org.jivesoftware.smack.tcp.XMPPTCPConnection;
import org.jivesoftware.smack.tcp.XMPPTCPConnectionConfiguration;
import org.jivesoftware.smackx.blocking.BlockingCommandManager;
import org.jivesoftware.smackx.commands.AdHocCommand;
import org.jivesoftware.smackx.commands.AdHocCommandManager;
import org.jivesoftware.smackx.commands.RemoteCommand;
import org.jivesoftware.smackx.disco.packet.DiscoverItems;
import org.jivesoftware.smackx.ping.PingManager;
import org.jivesoftware.smackx.vcardtemp.VCardManager;
import org.jivesoftware.smackx.vcardtemp.packet.VCard;
import org.jivesoftware.smackx.xdata.form.FillableForm;
import org.jxmpp.jid.EntityBareJid;
import org.jxmpp.jid.Jid;
import org.jxmpp.jid.impl.JidCreate;

/**
 * Two people with Smack, as Android's clients use it: {@code People HOST ADDRESS PORT CA [administers]}.
 *
 * <p>Prints one line beginning with "ok: " for each thing seen, and "done" at the end; exits with 1 and says why as soon
 * as something awaited does not come. With {@code administers}, frank may give commands to the host. Passwords come from
 * the environment: FRANK_PASSWORD, GRACE_PASSWORD.
 */
public final class People {
    private static final long DEADLINE_SECONDS = 30;

    private static String host;
    private static InetAddress address;
    private static int port;
    private static X509TrustManager trust;

    /** Somebody who is online, and the stanzas that came and nobody has asked for. */
    private static final class Person implements AutoCloseable {
        final EntityBareJid jid;
        final XMPPTCPConnection connection;
        final Roster roster;
        private final BlockingQueue<Stanza> came = new LinkedBlockingQueue<>();

        Person(String name, String password) throws Exception {
            jid = JidCreate.entityBareFrom(name + "@" + host);
            connection = new XMPPTCPConnection(XMPPTCPConnectionConfiguration.builder()
                    .setXmppDomain(host)
                    .setHostAddress(address)
                    .setPort(port)
                    .setSecurityMode(SecurityMode.required)
                    .setCustomX509TrustManager(trust)
                    .setUsernameAndPassword(name, password)
                    .setResource("smack")
                    .build());
            connection.setReplyTimeout(TimeUnit.SECONDS.toMillis(DEADLINE_SECONDS));
            roster = Roster.getInstanceFor(connection);
            roster.setSubscriptionMode(Roster.SubscriptionMode.manual);
            connection.addSyncStanzaListener(came::add,
                    new OrFilter(StanzaTypeFilter.MESSAGE, StanzaTypeFilter.PRESENCE));
            connection.connect().login();
        }

        /** The next stanza that is wanted; others before it are forgotten. */
        <T extends Stanza> T hears(Class<T> kind, Predicate<T> wanted, String what) throws Exception {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_SECONDS);
            while (true) {
                Stanza stanza = came.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
                if (stanza == null) {
                    throw new Failed(jid + " waited in vain for " + what);
                }
                if (kind.isInstance(stanza) && wanted.test(kind.cast(stanza))) {
                    return kind.cast(stanza);
                }
            }
        }

        Presence sees(EntityBareJid other, Presence.Type type) throws Exception {
            return hears(Presence.class, presence -> presence.getType() == type && other.isParentOf(presence.getFrom()),
                    "presence " + type + " of " + other);
        }

        void allows(EntityBareJid other) throws Exception {
            connection.sendStanza(connection.getStanzaFactory().buildPresenceStanza()
                    .to(other).ofType(Presence.Type.subscribed).build());
        }

        void says(EntityBareJid other, String text) throws Exception {
            ChatManager.getInstanceFor(connection).chatWith(other).send(text);
        }

        /** The server answers in order: what was sent before is done. */
        void waitsForServer() throws Exception {
            if (!PingManager.getInstanceFor(connection).pingMyServer()) {
                throw new Failed("the server does not answer " + jid + "'s ping");
            }
        }

        @Override
        public void close() {
            connection.disconnect();
        }
    }

    private static final class Failed extends Exception {
        private static final long serialVersionUID = 1;

        Failed(String why) {
            super(why);
        }
    }

    private static void ok(String what) {
        System.out.println("ok: " + what);
    }

    private static void check(boolean holds, String otherwise) throws Failed {
        if (!holds) {
            throw new Failed(otherwise);
        }
    }

    public static void main(String[] args) throws Exception {
        host = args[0];
        address = InetAddress.getByName(args[1]);
        port = Integer.parseInt(args[2]);
        trust = only(args[3]);
        boolean administers = args.length > 4 && args[4].equals("administers");
        int status = 0;
        try (Person frank = new Person("frank", System.getenv("FRANK_PASSWORD"));
                Person grace = new Person("grace", System.getenv("GRACE_PASSWORD"))) {
            ok("frank logs in by " + frank.connection.getUsedSaslMechansism() + ", the certificate verified");
            check(frank.connection.isSecureConnection() && grace.connection.isSecureConnection(), "not over TLS");
            rosters(frank, grace);
            chat(frank, grace);
            vcards(frank, grace);
            blocking(frank, grace);
            if (administers) {
                commands(frank, grace);
            }
            System.out.println("done");
        } catch (Exception why) {
            System.out.println("failed: " + why);
            why.printStackTrace();
            status = 1;
        }
        // Smack's threads need not end with the connections.
        System.exit(status);
    }

    private static X509TrustManager only(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = new FileInputStream(file)) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return (X509TrustManager) factory.getTrustManagers()[0];
    }

    /** Requests and consents both ways; then the server's roster is asked anew. */
    private static void rosters(Person frank, Person grace) throws Exception {
        frank.roster.createItemAndRequestSubscription(grace.jid, "Grace", new String[] {"Friends"});
        grace.sees(frank.jid, Presence.Type.subscribe);
        grace.allows(frank.jid);
        frank.sees(grace.jid, Presence.Type.subscribed);
        Presence online = frank.sees(grace.jid, Presence.Type.available);
        check(online.getFrom().getResourceOrEmpty().toString().equals("smack"), "not grace's resource: " + online);
        grace.roster.sendSubscriptionRequest(frank.jid);
        frank.sees(grace.jid, Presence.Type.subscribe);
        frank.allows(grace.jid);
        grace.sees(frank.jid, Presence.Type.subscribed);
        grace.sees(frank.jid, Presence.Type.available);
        ok("frank and grace are contacts of each other and see each other");
        frank.roster.reloadAndWait();
        RosterEntry entry = frank.roster.getEntry(grace.jid);
        check(entry != null && entry.getType() == ItemType.both && "Grace".equals(entry.getName()),
                "frank's roster says " + entry);
        check(frank.roster.getGroup("Friends") != null && frank.roster.getGroup("Friends").contains(grace.jid),
                "grace is not in frank's group");
        ok("frank's roster keeps name, group and subscription");
    }

    private static void chat(Person frank, Person grace) throws Exception {
        String text = "hello grace ☺ <&>";
        frank.says(grace.jid, text);
        Message heard = grace.hears(Message.class, message -> text.equals(message.getBody()), "frank's message");
        check(frank.jid.isParentOf(heard.getFrom()), "a message from " + heard.getFrom());
        grace.says(frank.jid, "hello frank");
        frank.hears(Message.class, message -> "hello frank".equals(message.getBody()), "grace's message");
        ok("frank and grace hear each other");
    }

    private static void vcards(Person frank, Person grace) throws Exception {
        check(VCardManager.getInstanceFor(frank.connection).isSupported(grace.jid), "grace has no vCards");
        byte[] picture = {(byte) 0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 1, 2, 3};
        VCard card = new VCard();
        card.setFirstName("Grace");
        card.setLastName("Höpper");
        card.setEmailHome("grace@example.org");
        card.setAvatar(picture, "image/png");
        VCardManager.getInstanceFor(grace.connection).saveVCard(card);
        VCard seen = VCardManager.getInstanceFor(frank.connection).loadVCard(grace.jid);
        check("Grace".equals(seen.getFirstName()) && "Höpper".equals(seen.getLastName())
                && "grace@example.org".equals(seen.getEmailHome()), "grace's vCard is " + seen.toXML());
        check(Arrays.equals(picture, seen.getAvatar()), "grace's picture is another");
        ok("frank reads the vCard that grace wrote");
    }

    private static void blocking(Person frank, Person grace) throws Exception {
        BlockingCommandManager blocked = BlockingCommandManager.getInstanceFor(grace.connection);
        check(blocked.isSupportedByServer(), "the server says that it cannot block");
        blocked.blockContacts(List.of(frank.jid));
        check(blocked.getBlockList().equals(List.of(frank.jid)), "grace's list is " + blocked.getBlockList());
        frank.sees(grace.jid, Presence.Type.unavailable);
        frank.says(grace.jid, "words for nobody");
        Message back = frank.hears(Message.class, message -> message.getType() == Message.Type.error, "the refusal");
        check(back.getError() != null && back.getError().getCondition() == StanzaError.Condition.service_unavailable,
                "the refusal is " + back);
        frank.waitsForServer();
        // Smack keeps the list by what the server pushes, which comes beside the result.
        BlockingQueue<List<Jid>> pushed = new LinkedBlockingQueue<>();
        blocked.addJidsUnblockedListener(pushed::add);
        blocked.unblockContacts(List.of(frank.jid));
        check(List.of(frank.jid).equals(pushed.poll(DEADLINE_SECONDS, TimeUnit.SECONDS)), "no push of who is unblocked");
        check(blocked.getBlockList().isEmpty(), "grace's list is " + blocked.getBlockList());
        frank.sees(grace.jid, Presence.Type.available);
        frank.says(grace.jid, "words for grace");
        grace.hears(Message.class, message -> {
            if ("words for nobody".equals(message.getBody())) {
                throw new IllegalStateException("grace heard frank while he was blocked");
            }
            return "words for grace".equals(message.getBody());
        }, "frank's message after the block");
        ok("grace blocks frank and does not hear him, then hears him again");
    }

    /** Frank makes an account by a form; whom it was made for logs in. Grace may not. */
    private static void commands(Person frank, Person grace) throws Exception {
        EntityBareJid heidi = JidCreate.entityBareFrom("heidi@" + host);
        AdHocCommandManager manager = AdHocCommandManager.getAddHocCommandsManager(frank.connection);
        List<DiscoverItems.Item> offered = manager.discoverCommands(heidi.asDomainBareJid()).getItems();
        check(offered.stream().anyMatch(item -> "natter/register".equals(item.getNode())),
                "frank is not offered to register");
        AdHocCommandManager graces = AdHocCommandManager.getAddHocCommandsManager(grace.connection);
        check(graces.discoverCommands(heidi.asDomainBareJid()).getItems().stream()
                .noneMatch(item -> "natter/register".equals(item.getNode())), "grace is offered to register");
        try {
            graces.getRemoteCommand(heidi.asDomainBareJid(), "natter/register").execute();
            throw new Failed("grace may register");
        } catch (XMPPException.XMPPErrorException refused) {
            check(refused.getStanzaError().getCondition() == StanzaError.Condition.forbidden, "refused by " + refused);
        }
        ok("frank is offered to register others, grace is not and may not");
        RemoteCommand command = manager.getRemoteCommand(heidi.asDomainBareJid(), "natter/register");
        command.execute();
        check(command.getStatus() == AdHocCommand.Status.executing, "after its first step it is " + command.getStatus());
        FillableForm form = new FillableForm(command.getForm());
        form.setAnswer("user", "heidi");
        form.setAnswer("host", host);
        form.setAnswer("password", "heidis-secret");
        command.complete(form);
        check(command.isCompleted(), "after its last step it is " + command.getStatus());
        ok("frank fills out the form: " + command.getNotes().get(0).getValue());
        try (Person made = new Person("heidi", "heidis-secret")) {
            made.waitsForServer();
        }
        ok("heidi logs in");
    }
}
