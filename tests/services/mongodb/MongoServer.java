import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.h2.mvstore.MVStore;

/**
 * A server for tests that speaks MongoDB's protocol, where no MongoDB can be had: {@code MongoServer PORT FILE}. With
 * {@code KEY CERTIFICATE PASSWORD}, three more files, it takes TLS only, and users who prove that they know the password:
 * see {@link Login}.
 *
 * <p>It is mongo-java-server, made strict where tests look closely: commands run one after the other, an answer shows the
 * state that its command left, and a write is in the file before it is answered, so that SIGKILL loses nothing that was
 * acknowledged.
 *
 * <p>Faithful: atomic updates of single documents ($set $inc $push $each $slice $pull $addToSet $setOnInsert, upserts,
 * findAndModify), unique indexes, find with sort and limit, updates of many documents in one command, plain aggregation. It
 * has no transactions (code 20, as a MongoDB that is no replica set), no change streams, no collation; it takes indexes with
 * an expiry but expires nothing, and takes partial indexes but ignores their filter. A document as {@code _id} is lost sight
 * of once its page is read back from the file: keys must be texts, numbers or the like.
 */
public final class MongoServer extends H2Backend {
    private static final Set<String> WRITES = Set.of("insert", "update", "delete", "findAndModify", "findandmodify", "create",
            "createIndexes", "drop", "dropDatabase", "dropIndexes", "deleteIndexes", "renameCollection");

    private final MVStore store;
    /** Null where everybody may come in. */
    private final Login login;

    private MongoServer(MVStore store, Login login) {
        super(store);
        this.store = store;
        this.login = login;
        version(new MongoVersion() {
            @Override
            public List<Integer> getVersionArray() {
                return List.of(5, 0, 0);
            }

            @Override
            public int getWireVersion() {
                return 13;
            }
        });
    }

    @Override
    public Document handleMessage(MongoMessage message) {
        Document asked = message.getDocument();
        String command = asked.keySet().iterator().next();
        if (asked.containsKey("txnNumber") || asked.containsKey("startTransaction") || Boolean.FALSE.equals(asked.get("autocommit"))) {
            return failure(20, "IllegalOperation", "Transaction numbers are only allowed on a replica set member or mongos");
        }
        if (command.equals("endSessions")) {
            return new Document("ok", 1.0);
        }
        if (login != null && !isGreeting(command)) {
            Document answer = login.handle(message.getChannel(), command, asked);
            if (answer != null) {
                return answer;
            }
        }
        synchronized (store) {
            // A copy, taken before the next command changes what the answer refers to.
            Document answer = super.handleMessage(command.equals("hello") ? asOldGreeting(message, asked) : message).cloneDeeply();
            if (isGreeting(command)) {
                answer.put("helloOk", true);
                answer.put("isWritablePrimary", true);
                answer.put("logicalSessionTimeoutMinutes", 30);
                if (login != null && asked.containsKey("saslSupportedMechs")) {
                    answer.put("saslSupportedMechs", List.of(Login.MECHANISM));
                }
            }
            if (command.equals("insert")) {
                countInserted(asked, answer);
            }
            if (answer.get("errmsg") != null && !answer.containsKey("code")) {
                answer.put("code", answer.get("errmsg").equals("ns not found") ? 26 : 8);
            }
            if (WRITES.contains(command)) {
                store.commit();
            }
            return answer;
        }
    }

    private static boolean isGreeting(String command) {
        return command.equals("hello") || command.equalsIgnoreCase("ismaster");
    }

    /** {@code hello} under the name that the library knows it by. */
    private static MongoMessage asOldGreeting(MongoMessage message, Document asked) {
        Document old = new Document("isMaster", 1);
        for (Map.Entry<String, Object> entry : asked.entrySet()) {
            if (!entry.getKey().equals("hello")) {
                old.put(entry.getKey(), entry.getValue());
            }
        }
        return new MongoMessage(message.getChannel(), message.getHeader(), old);
    }

    /** How many documents went in although others were refused: the library says 0. */
    private static void countInserted(Document asked, Document answer) {
        if (!(answer.get("writeErrors") instanceof Collection<?> refused) || refused.isEmpty()) {
            return;
        }
        if (Boolean.FALSE.equals(asked.get("ordered"))) {
            answer.put("n", ((Collection<?>) asked.get("documents")).size() - refused.size());
        } else {
            answer.put("n", ((Document) refused.iterator().next()).get("index"));
        }
    }

    static Document failure(int code, String name, String text) {
        return new Document("ok", 0.0).append("errmsg", text).append("code", code).append("codeName", name);
    }

    private static PrivateKey key(String file) throws Exception {
        String text = Files.readString(Path.of(file)).replaceAll("-----[^-]+-----|\\s", "");
        return KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
    }

    private static X509Certificate certificate(String file) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(Files.newInputStream(Path.of(file)));
    }

    public static void main(String[] arguments) throws Exception {
        MVStore store = new MVStore.Builder().fileName(arguments[1]).autoCommitDisabled()
                // Nor while a command is half done, for want of memory.
                .autoCommitBufferSize(0).open();
        // Space is used again at once: enough against SIGKILL, though not against power loss.
        store.setRetentionTime(0);
        boolean secured = arguments.length > 2;
        Login login = secured ? new Login(Files.readString(Path.of(arguments[4])).strip()) : null;
        de.bwaldvogel.mongo.MongoServer server = new de.bwaldvogel.mongo.MongoServer(new MongoServer(store, login));
        if (secured) {
            server.enableSsl(key(arguments[2]), null, certificate(arguments[3]));
        }
        server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
        System.out.println("listening on " + server.getConnectionString());
        Thread.currentThread().join();
    }
}
